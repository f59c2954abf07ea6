//! Exchanges of plugins under load: what is lost, and what they cost.
//!
//! ```text
//! handler     pings and broadcasts, while the channel's plugin is exchanged
//! dispatcher  jobs in order, while the pipeline's dispatcher is exchanged
//! canary      pings, while a version that panics at times is watched
//! operator    exchanges, as an operator makes them
//! ```

mod canary;
mod dispatcher;
mod handler;
mod operator;
mod pinging;

pub(super) use operator::{Operator, numbered};
pub(super) use pinging::Seen;

use anyhow::Result;
use clap::ValueEnum;

use super::Outcome;
use crate::server::Target;

/// Exchanges of a plugin of the app `tests/bench/exchanges`, one after the other,
/// under load; the same load without them before and after.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Exchanges {
    /// The plugin that is exchanged.
    #[arg(long, value_enum, default_value = "handler")]
    pub of: Of,
    /// Clients that ping, or users with jobs.
    #[arg(long, default_value_t = 10_000)]
    pub clients: usize,
    /// Topics that the clients share.
    #[arg(long, default_value_t = 100)]
    pub topics: usize,
    /// Pings of all clients together.
    #[arg(long, default_value_t = 5_000.0)]
    pub pings_per_second: f64,
    /// Broadcasts of all topics together.
    #[arg(long, default_value_t = 10.0)]
    pub broadcasts_per_second: f64,
    /// How many exchanges.
    #[arg(long, default_value_t = 100)]
    pub exchanges: usize,
    /// How long to measure without exchanges, before and after.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// Which plugin is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// That of the channels, for a version with other assigns, and on for versions that
    /// differ in nothing but their hashes.
    Handler,
    /// That of the pipeline, at half its capacity, for itself.
    Dispatcher,
    /// That of the channels, for a version that panics on one message in five:
    /// once, for 5 % of the clients.
    Canary,
}

impl Exchanges {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        match self.of {
            Of::Handler => self.handler(server).await,
            Of::Dispatcher => self.dispatcher(server).await,
            Of::Canary => self.canary(server).await,
        }
    }
}
