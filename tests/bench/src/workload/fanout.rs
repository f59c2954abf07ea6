//! One client broadcasts to many.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Outcome, PATIENCE, SETTLE, WARM_UP, join_all, run_for};
use crate::client::{Client, Incoming};
use crate::meter::{Meter, micros_each, per_second};
use crate::server::Target;

/// Broadcasts from one client to many, one at a time: the next goes out when
/// the last has reached everybody.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Fanout {
    /// Clients that listen, besides the one that broadcasts and hears itself.
    #[arg(long, default_value_t = 1_000)]
    pub subscribers: usize,
    /// How long to measure, after a second to warm up.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
}

/// The one broadcast on its way to all.
#[derive(Debug, Default)]
struct Hall {
    tally: Mutex<Tally>,
    /// Notified when nothing is missing any more.
    complete: Notify,
}

#[derive(Debug, Default)]
struct Tally {
    /// Of the broadcast on its way.
    number: u64,
    /// Its copies, and the reply to who sent it, that have not arrived.
    missing: u64,
    /// Copies and replies that came again.
    duplicated: u64,
}

/// A client, and what it has heard.
#[derive(Debug)]
struct Listener {
    client: Client,
    /// The last broadcast.
    heard: u64,
    /// The last broadcast that was answered.
    answered: u64,
    hall: Arc<Hall>,
}

impl Fanout {
    /// Puts the load on a server.
    pub async fn run(self, server: &Target) -> Result<Outcome> {
        let all = self.subscribers + 1;
        let clients = join_all(server, all, |_| "room:all".to_owned()).await?;
        let hall = Arc::new(Hall::default());
        let mut listeners = clients.into_iter().map(|client| {
            let hall = Arc::clone(&hall);
            Listener { client, heard: 0, answered: 0, hall }
        });
        let mut publisher = listeners.next().context("nobody listens")?;
        let mut listening = JoinSet::new();
        for listener in listeners {
            listening.spawn(listener.listen());
        }
        let all = all as u64;
        publisher.broadcast_for(WARM_UP, all).await?;
        let meter = Meter::start(server.pid)?;
        let count = all * publisher.broadcast_for(Duration::from_secs(self.seconds), all).await?;
        let spent = meter.stop()?;
        run_for(SETTLE, &mut listening).await?;
        let tally = hall.lock();
        let figures = vec![
            ("server CPU, µs a delivery", micros_each(spent.server, count)),
            ("client CPU, µs a delivery", micros_each(spent.client, count)),
            ("deliveries a second", per_second(count, spent.time)),
        ];
        Ok(Outcome { figures, lost: tally.missing, duplicated: tally.duplicated })
    }
}

impl Listener {
    /// Runs until it is dropped.
    async fn listen(mut self) -> Result<()> {
        loop {
            self.client.read().await?;
            self.hear()?;
        }
    }

    /// Counts what has been read.
    fn hear(&mut self) -> Result<()> {
        let mut tally = self.hall.lock();
        while let Some(incoming) = self.client.next()? {
            match incoming {
                Incoming::Message(payload) => tally.arrive(number(payload)?, &mut self.heard),
                Incoming::Reply(reference) => tally.arrive(reference, &mut self.answered),
            }
        }
        if tally.missing == 0 {
            self.hall.complete.notify_one();
        }
        Ok(())
    }

    /// Broadcasts to `all` for some time, or until something is lost; how often.
    async fn broadcast_for(&mut self, time: Duration, all: u64) -> Result<u64> {
        let (start, mut count) = (Instant::now(), 0);
        while start.elapsed() < time && self.hall.lock().missing == 0 {
            match timeout(PATIENCE, self.broadcast(all)).await {
                Ok(complete) => complete?,
                Err(_) => break,
            }
            count += 1;
        }
        Ok(count)
    }

    async fn broadcast(&mut self, all: u64) -> Result<()> {
        let number = self.hall.lock().expect(all);
        self.client.push(number, "shout", &payload(number));
        self.client.flush().await?;
        while self.hall.lock().missing > 0 {
            tokio::select! {
                read = self.client.read() => {
                    read?;
                    self.hear()?;
                }
                () = self.hall.complete.notified() => {}
            }
        }
        Ok(())
    }
}

impl Hall {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    /// Begins the next broadcast to `all`; its number.
    fn expect(&mut self, all: u64) -> u64 {
        self.number += 1;
        self.missing = all + 1;
        self.number
    }

    /// Counts a broadcast or a reply. `last` is the one that came before it.
    fn arrive(&mut self, number: u64, last: &mut u64) {
        if number == self.number && *last < number {
            *last = number;
            self.missing -= 1;
        } else {
            self.duplicated += 1;
        }
    }
}

fn payload(number: u64) -> String {
    format!(r#"{{"n":{number},"body":"the quick brown fox jumps over the lazy dog"}}"#)
}

/// The number in a payload, wherever the server has put it.
fn number(payload: &str) -> Result<u64> {
    let rest = payload.split_once(r#""n":"#).map(|(_, rest)| rest);
    let digits = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    let Some(Ok(number)) = digits.map(str::parse) else {
        bail!("a numbered broadcast was expected, found {payload}");
    };
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_carry_their_number() {
        assert_eq!(number(&payload(17)).unwrap(), 17);
        assert_eq!(number(r#"{"body":"x","n":18}"#).unwrap(), 18);
        number("{}").unwrap_err();
    }

    #[test]
    fn a_broadcast_arrives_once_at_each() {
        let (mut tally, mut heard, mut answered) = (Tally::default(), 0, 0);
        assert_eq!(tally.expect(1), 1);
        tally.arrive(1, &mut heard);
        tally.arrive(1, &mut answered);
        assert_eq!((tally.missing, tally.duplicated), (0, 0));
        tally.arrive(1, &mut heard);
        assert_eq!(tally.expect(1), 2);
        tally.arrive(1, &mut heard);
        assert_eq!((tally.missing, tally.duplicated), (2, 2));
    }
}
