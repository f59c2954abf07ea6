//! Clients that have joined, and send only heartbeats.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::{LOSS_TIMEOUT, Outcome, join_all};
use crate::meter::{Meter, micros_each};
use crate::pace::Pace;
use crate::server::Target;

/// Clients that have joined and send heartbeats, one after the other.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Heartbeats {
    /// Clients, each on a topic of its own.
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Seconds from a client's heartbeat to its next.
    #[arg(long, default_value_t = 30.0)]
    pub every: f64,
    /// The seconds to measure.
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
}

impl Heartbeats {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let wanted = Duration::try_from_secs_f64(self.seconds)?;
        let mut clients = join_all(server, self.connections, |n| format!("room:{n}")).await?;
        let mut pace = Pace::new(self.connections as f64 / self.every)?;
        let (meter, start, mut sent) = (Meter::start(server.pid)?, Instant::now(), 0_u64);
        while start.elapsed() < wanted {
            for client in &mut clients {
                pace.next().await?;
                let answered = timeout(LOSS_TIMEOUT, client.heartbeat()).await;
                answered.context("a heartbeat was never answered")??;
                sent += 1;
                if start.elapsed() >= wanted {
                    break;
                }
            }
        }
        let spent = meter.stop()?;
        let busy = spent.server.as_secs_f64() / spent.time.as_secs_f64();
        let figures = vec![
            ("heartbeats a second", sent as f64 / spent.time.as_secs_f64()),
            ("server CPU, µs a heartbeat", micros_each(spent.server, sent)),
            ("server CPU, % of a core", busy * 100.0),
        ];
        Ok(Outcome { figures, ..Outcome::default() })
    }
}
