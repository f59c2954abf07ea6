//! The time that a server takes to start.

use anyhow::{Context, Result};

use super::Outcome;
use crate::client::Client;
use crate::server::Target;

/// From the start of the process to the first accepted join. Compare several rounds:
/// a new process is started for each, the first of which may have to compile its
/// plugins.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Start {}

impl Start {
    /// Joins as soon as the server prints its address.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let started = server.started.context("only a server that is started here is measured")?;
        let listening = started.elapsed();
        let client = Client::join(server.endpoint, 0, "room:first".to_owned()).await?;
        let joined = started.elapsed();
        drop(client);
        let figures = vec![
            ("until its address was known, ms", listening.as_secs_f64() * 1e3),
            ("until the first join was accepted, ms", joined.as_secs_f64() * 1e3),
        ];
        Ok(Outcome { figures, ..Outcome::default() })
    }
}
