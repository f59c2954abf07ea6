//! Clients that ping at a steady rate, and one on each topic that broadcasts.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::Exchanges;
use crate::client::Client;
use crate::latency::Latencies;
use crate::protocol::Incoming;
use crate::server::Target;
use crate::workload::{LOSS_TIMEOUT, SETTLE, join_all, run_for};

/// The counts of all clients together.
#[derive(Debug)]
pub(in crate::workload) struct Seen(Mutex<Tally>);

#[derive(Debug)]
pub(in crate::workload) struct Tally {
    pub(in crate::workload) latencies: Latencies,
    pub(in crate::workload) sent: u64,
    pub(in crate::workload) answered: u64,
    /// The copies of broadcasts that were due, and those that came.
    pub(in crate::workload) copies_due: u64,
    pub(in crate::workload) copies: u64,
    pub(in crate::workload) duplicated: u64,
    stopped: bool,
}

/// One client.
struct Pinging {
    client: Client,
    seen: Arc<Seen>,
    waiting: VecDeque<(u64, Instant)>,
    sent: u64,
    /// The number of the last broadcast on its topic.
    heard: u64,
}

impl Seen {
    /// Joins the clients, which ping in `pinging`. Their channels may have assigns, which every
    /// version has to take over.
    pub(in crate::workload) async fn start(
        server: &Target,
        load: Exchanges,
        remembers: bool,
        pinging: &mut JoinSet<Result<()>>,
    ) -> Result<Arc<Self>> {
        let tally = Tally {
            latencies: Latencies::new()?,
            sent: 0,
            answered: 0,
            copies_due: 0,
            copies: 0,
            duplicated: 0,
            stopped: false,
        };
        let seen = Arc::new(Self(Mutex::new(tally)));
        let topics = load.topics.min(load.clients);
        let clients = join_all(server, load.clients, |n| format!("room:{}", n % topics)).await?;
        // Clients come in any order: the first one on a topic broadcasts there.
        let mut members: HashMap<String, u64> = HashMap::new();
        for client in &clients {
            *members.entry(client.topic().to_owned()).or_default() += 1;
        }
        let start = Instant::now();
        for (number, client) in clients.into_iter().enumerate() {
            let own = Pinging {
                seen: Arc::clone(&seen),
                waiting: VecDeque::new(),
                sent: 0,
                heard: 0,
                client,
            };
            let listeners = members.remove(own.client.topic()).map(|members| members - 1);
            let pings = every(start, load.pings_per_second, number, load.clients)?;
            let broadcasts = match listeners.filter(|_| load.broadcasts_per_second > 0.0) {
                None => None,
                Some(listeners) => {
                    let place = topics - members.len() - 1;
                    Some((every(start, load.broadcasts_per_second, place, topics)?, listeners))
                }
            };
            pinging.spawn(own.run(remembers, pings, broadcasts));
        }
        Ok(seen)
    }

    pub(in crate::workload) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latencies while `what` runs.
    pub(in crate::workload) async fn during<T>(
        &self,
        pinging: &mut JoinSet<Result<()>>,
        what: impl Future<Output = Result<T>>,
    ) -> Result<(T, Latencies)> {
        self.lock().latencies = Latencies::new()?;
        let done = tokio::select! {
            done = what => done?,
            Some(failed) = pinging.join_next() => {
                failed??;
                bail!("a client has ended");
            }
        };
        Ok((done, self.lock().latencies.clone()))
    }

    /// Ends the pings, waits for the answers that are missing, and returns the number of those that
    /// are lost.
    pub(in crate::workload) async fn stop(&self, pinging: &mut JoinSet<Result<()>>) -> Result<u64> {
        self.lock().stopped = true;
        let (start, missing) = (Instant::now(), || {
            let tally = self.lock();
            (tally.sent - tally.answered) + (tally.copies_due - tally.copies)
        });
        while missing() > 0 && start.elapsed() < LOSS_TIMEOUT {
            run_for(Duration::from_millis(5), pinging).await?;
        }
        run_for(SETTLE, pinging).await?;
        Ok(missing())
    }
}

/// The ticks of one client, if `count` clients together tick `per_second` times a second, one after
/// the other.
pub(in crate::workload) fn every(
    start: Instant,
    per_second: f64,
    place: usize,
    count: usize,
) -> Result<Interval> {
    let period = Duration::try_from_secs_f64(count as f64 / per_second)?;
    let offset = period.mul_f64(place as f64 / count as f64);
    let mut ticks = interval_at((start + offset).into(), period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    Ok(ticks)
}

async fn tick(ticks: &mut Option<(Interval, u64)>) -> u64 {
    match ticks {
        Some((ticks, listeners)) => {
            ticks.tick().await;
            *listeners
        }
        None => std::future::pending().await,
    }
}

impl Pinging {
    /// Runs until it is dropped.
    async fn run(
        mut self,
        remembers: bool,
        mut pings: Interval,
        mut broadcasts: Option<(Interval, u64)>,
    ) -> Result<()> {
        let mut broadcast = 0;
        if remembers {
            self.send("count", "{}").await?;
        }
        loop {
            tokio::select! {
                _ = pings.tick() => self.send("ping", "{}").await?,
                listeners = tick(&mut broadcasts) => {
                    broadcast += 1;
                    if self.send("shout_others", &format!("{{\"n\":{broadcast}}}")).await.is_ok() {
                        let mut tally = self.seen.lock();
                        if !tally.stopped {
                            tally.copies_due += listeners;
                        }
                    }
                }
                read = self.client.read() => {
                    read?;
                    self.hear()?;
                }
            }
        }
    }

    async fn send(&mut self, event: &str, payload: &str) -> Result<()> {
        {
            let mut tally = self.seen.lock();
            if tally.stopped {
                return Ok(());
            }
            tally.sent += 1;
        }
        self.sent += 1;
        self.client.push(self.sent, event, payload);
        self.waiting.push_back((self.sent, Instant::now()));
        self.client.flush().await
    }

    fn hear(&mut self) -> Result<()> {
        let now = Instant::now();
        while let Some(incoming) = self.client.next()? {
            let mut tally = self.seen.lock();
            match incoming {
                // Replies of one channel come in order.
                Incoming::Reply(number) => match self.waiting.pop_front() {
                    Some((sent, at)) if sent == number => {
                        tally.answered += 1;
                        tally.latencies.record(now.saturating_duration_since(at));
                    }
                    Some(expected) if number < expected.0 => {
                        self.waiting.push_front(expected);
                        tally.duplicated += 1;
                    }
                    expected => bail!("the answer to {number} came, expected was {expected:?}"),
                },
                Incoming::Message(payload) => {
                    let result: Value = serde_json::from_str(payload)?;
                    let number = result["n"].as_u64().context("a broadcast was expected")?;
                    if number <= self.heard {
                        tally.duplicated += 1;
                    } else {
                        self.heard = number;
                        tally.copies += 1;
                    }
                }
            }
        }
        Ok(())
    }
}
