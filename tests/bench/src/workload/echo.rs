//! Round trips: each client keeps some pings in flight on a topic of its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::task::JoinSet;

use super::{LOSS_TIMEOUT, Outcome, PAYLOAD, SETTLE, join_all, run_for, warm_up};
use crate::client::Client;
use crate::in_flight::InFlight;
use crate::latency::Latencies;
use crate::meter::{Meter, Spent, micros_each, per_second};
use crate::protocol::Incoming;
use crate::server::Target;

/// Round trips on a topic of each client's own.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Echo {
    /// The number of clients.
    #[arg(long, default_value_t = 100)]
    pub connections: usize,
    /// Pings each keeps in flight.
    #[arg(long, default_value_t = 1)]
    pub in_flight: usize,
    /// How long to measure, after a second to warm up.
    #[arg(long, default_value_t = 5.0)]
    pub seconds: f64,
}

/// The counts of all clients of one run. One thread runs them all, so the lock is always free.
#[derive(Debug)]
struct Tally {
    phase: Phase,
    sent: u64,
    answered: u64,
    duplicated: u64,
    /// The latencies of the replies while measuring.
    latencies: Latencies,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measuring,
    /// No more pings are sent, but replies may still come.
    Ending,
}

impl Echo {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let time = Duration::try_from_secs_f64(self.seconds)?;
        let clients = join_all(server, self.connections, |n| format!("room:{n}")).await?;
        let tally = Arc::new(Mutex::new(Tally::new()?));
        let mut running = JoinSet::new();
        for client in clients {
            running.spawn(ping(client, self.in_flight, Arc::clone(&tally)));
        }
        run_for(warm_up(time), &mut running).await?;
        lock(&tally).phase = Phase::Measuring;
        let meter = Meter::start(server.pid)?;
        run_for(time, &mut running).await?;
        lock(&tally).phase = Phase::Ending;
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
async fn ping(mut client: Client, in_flight: usize, tally: Arc<Mutex<Tally>>) -> Result<()> {
    let mut pings = InFlight::new(in_flight, Instant::now());
    for reference in pings.refs() {
        client.push(reference, "ping", PAYLOAD);
        lock(&tally).sent += 1;
    }
    loop {
        client.flush().await?;
        client.read().await?;
        let now = Instant::now();
        let mut tally = lock(&tally);
        // Every reply allows one more ping. The pings for all replies of one read go out with one
        // write.
        while let Some(incoming) = client.next()? {
            let Incoming::Reply(reference) = incoming else {
                bail!("a reply was expected, found {incoming:?}");
            };
            let answered = tally.answer(pings.answer(reference), now);
            if answered && tally.phase != Phase::Ending {
                tally.sent += 1;
                client.push(pings.again(reference, now), "ping", PAYLOAD);
            }
        }
    }
}

impl Tally {
    fn new() -> Result<Self> {
        let latencies = Latencies::new()?;
        Ok(Self { phase: Phase::WarmUp, sent: 0, answered: 0, duplicated: 0, latencies })
    }

    /// Counts a reply to a ping that was sent at this time; `None` means that no ping waits for it.
    fn answer(&mut self, sent: Option<Instant>, now: Instant) -> bool {
        let Some(sent) = sent else {
            self.duplicated += 1;
            return false;
        };
        self.answered += 1;
        if self.phase == Phase::Measuring {
            self.latencies.record(now - sent);
        }
        true
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
    fn only_replies_while_measuring_have_latencies() {
        let mut tally = Tally::new().unwrap();
        let sent = Instant::now();
        tally.sent = 3;
        assert!(tally.answer(Some(sent), sent));
        tally.phase = Phase::Measuring;
        assert!(tally.answer(Some(sent), sent + Duration::from_micros(900)));
        assert!(!tally.answer(None, sent));
        assert_eq!((tally.latencies.count(), tally.latencies.at(1.0)), (1, 900.0));
        assert_eq!((tally.lost(), tally.duplicated), (1, 1));
    }
}
