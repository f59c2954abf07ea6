//! Round trips at a rate.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{LOSS_TIMEOUT, Outcome, PAYLOAD, SETTLE, join_all, run_for, warm_up};
use crate::client::Client;
use crate::latency::Latencies;
use crate::meter::{Meter, Spent, micros_each, per_second};
use crate::pace::Pace;
use crate::protocol::Incoming;
use crate::server::Target;

/// Round trips on a topic of each client's own, at a rate, whether or not the
/// last ones have been answered. Latency counts from when a ping was due.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct EchoRate {
    /// Clients, which take turns.
    #[arg(long, default_value_t = 100)]
    pub connections: usize,
    /// Pings a second, of all together.
    #[arg(long, default_value_t = 5_000.0)]
    pub rate: f64,
    /// How long to measure, after a second to warm up.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

#[derive(Debug)]
struct Tally {
    sent: u64,
    answered: u64,
    duplicated: u64,
    /// The time from which on pings are measured.
    from: Instant,
    latencies: Latencies,
}

/// The most pings that a busy client has not sent yet. Then the schedule waits, and the pings keep
/// their times.
const BEHIND: usize = 1024;

impl EchoRate {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let time = Duration::try_from_secs_f64(self.seconds)?;
        let clients = join_all(server, self.connections, |n| format!("room:{n}")).await?;
        let from = Instant::now() + warm_up(time);
        let latencies = Latencies::new()?;
        let tally = Tally { sent: 0, answered: 0, duplicated: 0, from, latencies };
        let (tally, mut running) = (Arc::new(Mutex::new(tally)), JoinSet::new());
        let mut senders = Vec::new();
        for client in clients {
            let (sender, due) = mpsc::channel(BEHIND);
            senders.push(sender);
            running.spawn(ping(client, due, Arc::clone(&tally)));
        }
        let mut pace = Pace::new(self.rate)?;
        let mut meter = None;
        for sender in senders.iter().cycle() {
            let (_, due) = pace.next().await?;
            if due >= from + time {
                break;
            }
            if due >= from && meter.is_none() {
                meter = Some(Meter::start(server.pid)?);
            }
            if sender.send(due).await.is_err() {
                break;
            }
        }
        let meter = meter.map_or_else(|| Meter::start(server.pid), Ok)?;
        let spent = meter.stop()?;
        let deadline = Instant::now() + LOSS_TIMEOUT;
        while lock(&tally).lost() > 0 && Instant::now() < deadline {
            run_for(SETTLE, &mut running).await?;
        }
        run_for(SETTLE, &mut running).await?;
        Ok(lock(&tally).outcome(spent))
    }
}

/// Runs one client until it is dropped.
async fn ping(
    mut client: Client,
    mut due: mpsc::Receiver<Instant>,
    tally: Arc<Mutex<Tally>>,
) -> Result<()> {
    let (mut last, mut waiting) = (0, VecDeque::new());
    loop {
        tokio::select! {
            Some(at) = due.recv() => {
                last += 1;
                client.push(last, "ping", PAYLOAD);
                waiting.push_back((last, at));
                lock(&tally).sent += 1;
                client.flush().await?;
            }
            read = client.read() => {
                read?;
                let (now, mut tally) = (Instant::now(), lock(&tally));
                while let Some(incoming) = client.next()? {
                    let Incoming::Reply(number) = incoming else {
                        bail!("a reply was expected, found {incoming:?}");
                    };
                    let place = waiting.iter().position(|(sent, _)| *sent == number);
                    let due = place.and_then(|place| waiting.remove(place)).map(|(_, at)| at);
                    tally.answer(due, now);
                }
            }
        }
    }
}

impl Tally {
    /// Counts a reply to a ping with this scheduled time; `None` means that no ping waits for it.
    fn answer(&mut self, due: Option<Instant>, now: Instant) {
        let Some(due) = due else {
            self.duplicated += 1;
            return;
        };
        self.answered += 1;
        if due >= self.from {
            self.latencies.record(now.saturating_duration_since(due));
        }
    }

    fn lost(&self) -> u64 {
        self.sent - self.answered
    }

    fn outcome(&self, spent: Spent) -> Outcome {
        let count = self.latencies.count();
        let mut figures = vec![
            ("server CPU, µs a round trip", micros_each(spent.server, count)),
            ("client CPU, µs a round trip", micros_each(spent.client, count)),
            ("round trips a second", per_second(count, spent.time)),
        ];
        figures.extend(self.latencies.figures());
        Outcome { figures, lost: self.lost(), duplicated: self.duplicated }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_when_a_ping_was_due() {
        let (from, latencies) = (Instant::now(), Latencies::new().unwrap());
        let mut tally = Tally { sent: 3, answered: 0, duplicated: 0, from, latencies };
        let early = from.checked_sub(Duration::from_millis(1));
        tally.answer(early, from);
        tally.answer(Some(from), from + Duration::from_micros(700));
        tally.answer(None, from);
        assert_eq!((tally.latencies.count(), tally.latencies.at(1.0)), (1, 700.0));
        assert_eq!((tally.lost(), tally.duplicated), (1, 1));
    }
}
