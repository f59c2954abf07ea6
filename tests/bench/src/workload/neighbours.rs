//! The effect of misbehaving clients on the latency of others.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::{Outcome, WARM_UP, join_all, run_for};
use crate::client::Client;
use crate::procfs;
use crate::protocol::Incoming;
use crate::server::Target;

/// Clients that ping at a steady pace, alone and beside others that do not
/// behave, in turns. Pings go out whether or not the last was answered; latency
/// counts from when they went out.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Neighbours {
    /// What the others do.
    #[arg(long, value_enum)]
    pub others: Others,
    /// How many there are of them.
    #[arg(long, default_value_t = 10)]
    pub count: usize,
    /// Clients that ping.
    #[arg(long, default_value_t = 100)]
    pub connections: usize,
    /// Milliseconds between two pings of one of them.
    #[arg(long, default_value_t = 20)]
    pub every_ms: u64,
    /// Seconds of each turn; there are three alone and three with the others.
    #[arg(long, default_value_t = 3)]
    pub seconds: u64,
}

/// What the others do, on `slow:*`, or on a topic of their own of `room:*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Others {
    /// Each message computes until its fuel is used up.
    Spin,
    /// Each message panics.
    Crash,
    /// They do not read, while somebody broadcasts 10,000 times a second on
    /// their topic. Somebody does when the clients are "alone", too, and those on
    /// the topic read.
    Stall,
    /// Ping without a pause: what an honest busy client does, to compare.
    Ping,
}

const TURNS: usize = 3;
/// The largest latency, in microseconds.
const MAX_LATENCY: u64 = 60_000_000;
/// The broadcasts on a stalled topic that are sent at once, and the time between two such bursts.
const BURST: u64 = 10;
const BURST_EVERY: Duration = Duration::from_millis(1);

type Latencies = Arc<Mutex<Histogram<u64>>>;

impl Neighbours {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let clients = join_all(server, self.connections, |n| format!("room:{n}")).await?;
        let latencies: Latencies =
            Arc::new(Mutex::new(Histogram::new_with_bounds(1, MAX_LATENCY, 3)?));
        let mut pinging = JoinSet::new();
        for (number, client) in clients.into_iter().enumerate() {
            let every = Duration::from_millis(self.every_ms);
            let offset = every * u32::try_from(number)? / u32::try_from(self.connections)?;
            pinging.spawn(ping(client, offset, every, Arc::clone(&latencies)));
        }
        run_for(WARM_UP, &mut pinging).await?;
        let rss_before = procfs::rss(server.pid)?;
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            for (figures, misbehave) in [(&mut alone, false), (&mut beside, true)] {
                let others = self.others(server, misbehave).await?;
                run_for(WARM_UP, &mut pinging).await?;
                figures.push(self.turn(&mut pinging, &latencies).await?);
                drop(others);
            }
        }
        let rss_after = procfs::rss(server.pid)?;
        let (alone_p50, alone_p99) = medians(&alone);
        let (beside_p50, beside_p99) = medians(&beside);
        let figures = vec![
            ("p50 alone, µs", alone_p50),
            ("p50 beside the others, µs", beside_p50),
            ("p99 alone, µs", alone_p99),
            ("p99 beside the others, µs", beside_p99),
            ("p99 beside / alone", beside_p99 / alone_p99),
            ("server RSS grown, MB", (rss_after as f64 - rss_before as f64) / 1e6),
        ];
        Ok(Outcome { figures, lost: 0, duplicated: 0 })
    }

    /// The p50 and p99 of one turn.
    async fn turn(
        self,
        pinging: &mut JoinSet<Result<()>>,
        latencies: &Latencies,
    ) -> Result<(f64, f64)> {
        lock(latencies).reset();
        run_for(Duration::from_secs(self.seconds), pinging).await?;
        let latencies = lock(latencies);
        let at = |quantile| latencies.value_at_quantile(quantile) as f64;
        Ok((at(0.5), at(0.99)))
    }

    /// Starts the other clients, which run until they are dropped. When they behave, only the
    /// broadcasts of `Stall` remain.
    async fn others(self, server: &Target, misbehave: bool) -> Result<JoinSet<Result<()>>> {
        let mut running = JoinSet::new();
        if !misbehave && self.others != Others::Stall {
            return Ok(running);
        }
        let topic = |n| match self.others {
            Others::Spin | Others::Crash => format!("slow:{n}"),
            Others::Stall => "room:stalled".to_owned(),
            Others::Ping => format!("room:other{n}"),
        };
        for client in join_all(server, self.count, topic).await? {
            match self.others {
                Others::Spin => running.spawn(again_and_again(client, "spin")),
                Others::Crash => running.spawn(again_and_again(client, "crash")),
                Others::Ping => running.spawn(again_and_again(client, "ping")),
                Others::Stall if misbehave => running.spawn(stall(client)),
                Others::Stall => running.spawn(read(client)),
            };
        }
        if self.others == Others::Stall {
            for client in join_all(server, 1, topic).await? {
                running.spawn(broadcast(client));
            }
        }
        Ok(running)
    }
}

/// One client that behaves; it runs until it is dropped.
async fn ping(
    mut client: Client,
    offset: Duration,
    every: Duration,
    latencies: Latencies,
) -> Result<()> {
    let start = Instant::now() + offset;
    let mut ticks = interval_at(start.into(), every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0u64;
    let mut waiting = VecDeque::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                sent += 1;
                client.push(sent, "ping", "{}");
                waiting.push_back((sent, Instant::now()));
                client.flush().await?;
            }
            read = client.read() => {
                read?;
                let now = Instant::now();
                while let Some(incoming) = client.next()? {
                    let Incoming::Reply(number) = incoming else {
                        bail!("a reply was expected, found {incoming:?}");
                    };
                    // Replies of one channel come in order.
                    let Some((_, at)) = waiting.pop_front().filter(|(sent, _)| *sent == number)
                    else {
                        bail!("ping {number} was answered out of order");
                    };
                    let micros = now.saturating_duration_since(at).as_micros();
                    lock(&latencies).saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
                }
            }
        }
    }
}

/// Joins again and sends `event`, as fast as the server answers, whatever the answer is.
async fn again_and_again(mut client: Client, event: &str) -> Result<()> {
    loop {
        client.rejoin();
        client.push(1, event, "{}");
        client.flush().await?;
        client.read().await?;
        client.discard();
    }
}

/// Broadcasts 10,000 times a second to all others on the topic.
async fn broadcast(mut client: Client) -> Result<()> {
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(200));
    let mut ticks = interval_at(tokio::time::Instant::now(), BURST_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                for number in 1..=BURST {
                    client.push(number, "shout_others", &payload);
                }
                client.flush().await?;
            }
            read = client.read() => {
                read?;
                client.discard();
            }
        }
    }
}

/// Reads, and does nothing else.
async fn read(mut client: Client) -> Result<()> {
    loop {
        client.read().await?;
        client.discard();
    }
}

/// Never reads.
async fn stall(client: Client) -> Result<()> {
    std::future::pending::<()>().await;
    drop(client);
    Ok(())
}

/// The medians of both figures over all turns.
fn medians(turns: &[(f64, f64)]) -> (f64, f64) {
    let median = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let (first, second) = turns.iter().copied().unzip();
    (median(first), median(second))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
