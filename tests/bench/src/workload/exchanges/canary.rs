//! A canary that panics on one message in five, for a few clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Interval;

use super::Exchanges;
use super::operator::Operator;
use super::pinging::every;
use crate::client::Client;
use crate::server::Target;
use crate::workload::{Outcome, SETTLE, WARM_UP, join_all, run_for};

/// The share of connections that get the canary.
const SHARE: f64 = 0.05;

/// The failures that clients had from the bad version.
#[derive(Debug, Default)]
struct Harm {
    /// The time of the first failure.
    since: Option<Instant>,
    clients: u64,
    last: Option<Instant>,
}

impl Exchanges {
    pub(super) async fn canary(self, server: &Target) -> Result<Outcome> {
        let operator = Operator::of(server).await?;
        let bad = operator.built("apps/probe-bad", "probe").await?;
        let clients = join_all(server, self.clients, |n| format!("room:{n}")).await?;
        let harm = Arc::<Mutex<Harm>>::default();
        let mut pinging = JoinSet::new();
        let start = Instant::now();
        for (number, client) in clients.into_iter().enumerate() {
            let ticks = every(start, self.pings_per_second, number, self.clients)?;
            pinging.spawn(ping(client, ticks, Arc::clone(&harm)));
        }
        run_for(WARM_UP, &mut pinging).await?;
        let watched = operator.swap("probe", &bad, "&canary=5%25&watch_ms=30000");
        let result = tokio::select! {
            result = watched => result?,
            Some(failed) = pinging.join_next() => {
                failed??;
                bail!("a client has ended");
            }
        };
        let ended = Instant::now();
        ensure!(result.outcome == "rolled_back", "the exchange ended as {}", result.outcome);
        run_for(SETTLE * 5, &mut pinging).await?;
        let harm = harm.lock().await;
        let Some(since) = harm.since else { bail!("the bad version did no harm") };
        let after = harm.last.map_or(Duration::ZERO, |last| last.saturating_duration_since(ended));
        let figures = vec![
            ("clients", self.clients as f64),
            ("clients of the canary, expected", self.clients as f64 * SHARE),
            ("clients it failed", harm.clients as f64),
            (
                "first failure to rollback, ms",
                ended.saturating_duration_since(since).as_secs_f64() * 1e3,
            ),
            ("last failure after the rollback, ms", after.as_secs_f64() * 1e3),
        ];
        Ok(Outcome { figures, lost: 0, duplicated: 0 })
    }
}

/// Pings, and joins again after a failure, until it is dropped.
async fn ping(mut client: Client, mut ticks: Interval, harm: Arc<Mutex<Harm>>) -> Result<()> {
    let (mut number, mut failed) = (0, false);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                number += 1;
                client.push(number, "ping", "{}");
                client.flush().await?;
            }
            read = client.read() => {
                read?;
                // `phx_error`, and the error reply to the message.
                if client.unread().windows(9).any(|bytes| bytes == b"phx_error") {
                    let mut harm = harm.lock().await;
                    harm.since.get_or_insert_with(Instant::now);
                    harm.last = Some(Instant::now());
                    harm.clients += u64::from(!std::mem::replace(&mut failed, true));
                    client.rejoin();
                    client.flush().await?;
                }
                client.discard();
            }
        }
    }
}
