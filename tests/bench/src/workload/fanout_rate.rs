//! One client broadcasts to many, at a rate.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;

use super::hall::Hall;
use super::{LOSS_TIMEOUT, Outcome, SETTLE, run_for, warm_up};
use crate::latency::Latencies;
use crate::meter::{Meter, micros_each, per_second};
use crate::pace::Pace;
use crate::server::Target;

/// Broadcasts from one client to many at a rate, whether or not the last have
/// arrived. Latency is from when a broadcast was due to each of its copies.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct FanoutRate {
    /// Clients that listen, besides the one that broadcasts and hears itself.
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: usize,
    /// Broadcasts a second.
    #[arg(long, default_value_t = 20.0)]
    pub rate: f64,
    /// How long to measure, after a second to warm up.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

impl FanoutRate {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let time = Duration::try_from_secs_f64(self.seconds)?;
        let mut listening = JoinSet::new();
        let mut publisher = Hall::gather(server, self.subscribers, &mut listening).await?;
        let all = self.subscribers as u64 + 1;
        let (mut pace, start) = (Pace::new(self.rate)?, Instant::now());
        let (warm, end) = (start + warm_up(time), start + warm_up(time) + time);
        let (mut meter, mut before) = (None, 0);
        loop {
            tokio::select! {
                biased;
                due = pace.next() => {
                    let (_, due) = due?;
                    if due >= end {
                        break;
                    }
                    if due >= warm && meter.is_none() {
                        let mut tally = publisher.hall.lock();
                        tally.measuring = Some((pace.schedule(), Latencies::new()?));
                        before = tally.delivered;
                        meter = Some(Meter::start(server.pid)?);
                    }
                    publisher.shout(all);
                    publisher.client.flush().await?;
                }
                read = publisher.client.read() => {
                    read?;
                    publisher.hear()?;
                }
            }
        }
        // The last broadcasts are still on their way.
        let deadline = Instant::now() + LOSS_TIMEOUT;
        while publisher.hall.lock().missing > 0 && Instant::now() < deadline {
            tokio::select! {
                read = publisher.client.read() => {
                    read?;
                    publisher.hear()?;
                }
                () = publisher.hall.complete.notified() => {}
                () = tokio::time::sleep(SETTLE) => {}
            }
        }
        let meter = meter.map_or_else(|| Meter::start(server.pid), Ok)?;
        let spent = meter.stop()?;
        run_for(SETTLE, &mut listening).await?;
        let mut tally = publisher.hall.lock();
        let count = tally.delivered - before;
        let mut figures = vec![
            ("server CPU, µs a delivery", micros_each(spent.server, count)),
            ("client CPU, µs a delivery", micros_each(spent.client, count)),
            ("deliveries a second", per_second(count, spent.time)),
        ];
        if let Some((_, latencies)) = tally.measuring.take() {
            figures.extend(latencies.figures());
        }
        Ok(Outcome { figures, lost: tally.missing, duplicated: tally.duplicated })
    }
}
