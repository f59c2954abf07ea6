//! Calls that wait, and their cost.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::timeout;

use super::{LOSS_TIMEOUT, Outcome, join_all};
use crate::procfs;
use crate::protocol::Incoming;
use crate::server::Target;

/// `parallel_slow_ping`s in flight: how soon all are answered, and what each
/// costs while it waits.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Waiting {
    /// The number of clients.
    #[arg(long, default_value_t = 1)]
    pub connections: usize,
    /// Pings of each.
    #[arg(long, default_value_t = 1_000)]
    pub each: u64,
    /// How long each of them waits.
    #[arg(long, default_value_t = 1_000)]
    pub ms: u64,
}

impl Waiting {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let mut clients = join_all(server, self.connections, |n| format!("room:{n}")).await?;
        let before = memory(server)?;
        let start = Instant::now();
        let payload = format!(r#"{{"ms":{}}}"#, self.ms);
        for client in &mut clients {
            for number in 1..=self.each {
                client.push(number, "parallel_slow_ping", &payload);
            }
            client.flush().await?;
        }
        // By then all calls have begun, and none has ended.
        tokio::time::sleep(Duration::from_millis(self.ms * 9 / 10)).await;
        let waiting = memory(server)?;
        let mut answered = 0;
        for client in &mut clients {
            let mut missing = self.each;
            while missing > 0 {
                let read = timeout(LOSS_TIMEOUT + Duration::from_millis(self.ms), client.read());
                read.await.context("some were never answered")??;
                while let Some(incoming) = client.next()? {
                    missing -= u64::from(matches!(incoming, Incoming::Reply(_)));
                }
            }
            answered += self.each;
        }
        let figures = vec![
            ("all answered after, ms", start.elapsed().as_secs_f64() * 1e3),
            ("server PSS for each that waits, KiB", (waiting.0 - before.0) / answered as f64),
            ("server RSS for each that waits, KiB", (waiting.1 - before.1) / answered as f64),
        ];
        Ok(Outcome { figures, lost: 0, duplicated: 0 })
    }
}

/// The PSS and RSS in KiB. The initial data of instances is one mapping of the same pages, which
/// only RSS counts each time.
fn memory(server: &Target) -> Result<(f64, f64)> {
    let (pss, rss) = (procfs::pss(server.pid)?, procfs::rss(server.pid)?);
    Ok((pss as f64 / 1024.0, rss as f64 / 1024.0))
}
