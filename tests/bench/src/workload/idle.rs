//! Idle clients: they have joined, and send nothing.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Outcome, join_all};
use crate::client::Client;
use crate::meter::{Meter, micros_each};
use crate::procfs;
use crate::server::Target;

/// The clients that come and go first, so that what all clients share is there already.
const FIRST: usize = 100;

/// Clients that have joined and say nothing.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Idle {
    /// Clients, each on a topic of its own.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Seconds in which the server may return what the handshakes needed.
    #[arg(long, default_value_t = 2.0)]
    pub rest: f64,
}

impl Idle {
    /// Opens the connections, and measures their CPU time and memory.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let rest = Duration::try_from_secs_f64(self.rest)?;
        let first = join_all(server, FIRST, |n| format!("room:first{n}")).await?;
        drop(first);
        tokio::time::sleep(rest).await;
        let empty = rss(server)?;
        let meter = Meter::start(server.pid)?;
        let clients = join_all(server, self.connections, |n| format!("room:{n}")).await?;
        let spent = meter.stop()?;
        let streams: Vec<_> = clients.into_iter().map(Client::into_stream).collect();
        tokio::time::sleep(rest).await;
        let full = rss(server)?;
        drop(streams);
        let count = self.connections as u64;
        let figures = vec![
            ("server RSS with nobody, MB", empty as f64 / 1e6),
            ("server RSS with all, MB", full as f64 / 1e6),
            ("server RSS, bytes a connection", full.saturating_sub(empty) as f64 / count as f64),
            ("server CPU, µs a connect and join", micros_each(spent.server, count)),
            ("client CPU, µs a connect and join", micros_each(spent.client, count)),
        ];
        Ok(Outcome { figures, ..Outcome::default() })
    }
}

fn rss(server: &Target) -> Result<u64> {
    procfs::rss(server.pid).context("failed to read the server's memory")
}
