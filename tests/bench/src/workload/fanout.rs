//! One client broadcasts to many, as fast as they receive it.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::hall::{Hall, Listener};
use super::{LOSS_TIMEOUT, Outcome, SETTLE, run_for, warm_up};
use crate::meter::{Meter, micros_each, per_second};
use crate::server::Target;

/// Broadcasts from one client to many: the next go out when the last have
/// reached everybody.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Fanout {
    /// Clients that listen, besides the one that broadcasts and hears itself.
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: usize,
    /// Broadcasts at once, in one write.
    #[arg(long, default_value_t = 1)]
    pub burst: u64,
    /// How long to measure, after a second to warm up.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

impl Fanout {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let time = Duration::try_from_secs_f64(self.seconds)?;
        let mut listening = JoinSet::new();
        let mut publisher = Hall::gather(server, self.subscribers, &mut listening).await?;
        self.broadcast_for(&mut publisher, warm_up(time)).await?;
        let meter = Meter::start(server.pid)?;
        let broadcasts = self.broadcast_for(&mut publisher, time).await?;
        let spent = meter.stop()?;
        run_for(SETTLE, &mut listening).await?;
        let (tally, count) = (publisher.hall.lock(), broadcasts * self.all());
        let figures = vec![
            ("server CPU, µs a delivery", micros_each(spent.server, count)),
            ("client CPU, µs a delivery", micros_each(spent.client, count)),
            ("deliveries a second", per_second(count, spent.time)),
        ];
        Ok(Outcome { figures, lost: tally.missing, duplicated: tally.duplicated })
    }

    /// The number of clients that receive each broadcast.
    fn all(self) -> u64 {
        self.subscribers as u64 + 1
    }

    /// Broadcasts for some time, or until something is lost; returns the number of broadcasts.
    async fn broadcast_for(self, publisher: &mut Listener, time: Duration) -> Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time && publisher.hall.lock().missing == 0 {
            for _ in 0..self.burst {
                publisher.shout(self.all());
            }
            publisher.client.flush().await?;
            // A burst may take long. A message counts as lost when no more messages come.
            let mut missing = u64::MAX;
            while publisher.hall.lock().missing < missing {
                missing = publisher.hall.lock().missing;
                if let Ok(complete) = timeout(LOSS_TIMEOUT, complete(publisher)).await {
                    complete?;
                    count += self.burst;
                    break;
                }
            }
        }
        Ok(count)
    }
}

/// Waits until all clients have received everything.
async fn complete(publisher: &mut Listener) -> Result<()> {
    while publisher.hall.lock().missing > 0 {
        tokio::select! {
            read = publisher.client.read() => {
                read?;
                publisher.hear()?;
            }
            () = publisher.hall.complete.notified() => {}
        }
    }
    Ok(())
}
