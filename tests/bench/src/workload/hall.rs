//! Clients on one topic, and the broadcasts that they receive from one of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::join_all;
use crate::client::Client;
use crate::latency::Latencies;
use crate::pace::Schedule;
use crate::protocol::Incoming;
use crate::server::Target;

/// The broadcasts that are on their way to all clients.
#[derive(Debug, Default)]
pub(super) struct Hall {
    tally: Mutex<Tally>,
    /// Notified when nothing is missing any more.
    pub(super) complete: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The number of the last broadcast.
    number: u64,
    /// The copies, and replies to the sender, that have not arrived.
    pub(super) missing: u64,
    /// The copies and replies that came again.
    pub(super) duplicated: u64,
    /// The copies that have arrived.
    pub(super) delivered: u64,
    /// The scheduled times of broadcasts and the latencies of their copies, if these are measured.
    pub(super) measuring: Option<(Schedule, Latencies)>,
}

/// A client, and what it has received.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) client: Client,
    /// The number of the last broadcast.
    heard: u64,
    /// The number of the last broadcast that was answered.
    answered: u64,
    pub(super) hall: Arc<Hall>,
}

impl Hall {
    /// Joins `subscribers` clients, which listen in `listening`, and one more that broadcasts, and
    /// receives its own broadcasts.
    pub(super) async fn gather(
        server: &Target,
        subscribers: usize,
        listening: &mut JoinSet<Result<()>>,
    ) -> Result<Listener> {
        let clients = join_all(server, subscribers + 1, |_| "room:all".to_owned()).await?;
        let hall = Arc::<Self>::default();
        let mut listeners = clients.into_iter().map(|client| {
            let hall = Arc::clone(&hall);
            Listener { client, heard: 0, answered: 0, hall }
        });
        let publisher = listeners.next().context("nobody listens")?;
        for listener in listeners {
            listening.spawn(listener.listen());
        }
        Ok(publisher)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Receives until it is dropped.
    async fn listen(mut self) -> Result<()> {
        loop {
            self.client.read().await?;
            self.hear()?;
        }
    }

    /// Counts the messages that were read.
    pub(super) fn hear(&mut self) -> Result<()> {
        let (now, mut tally) = (Instant::now(), self.hall.lock());
        while let Some(incoming) = self.client.next()? {
            match incoming {
                Incoming::Message(payload) => {
                    let number = number(payload)?;
                    tally.delivered(number, now);
                    tally.arrive(number, &mut self.heard);
                }
                Incoming::Reply(reference) => tally.arrive(reference, &mut self.answered),
            }
        }
        if tally.missing == 0 {
            self.hall.complete.notify_one();
        }
        Ok(())
    }

    /// Queues the next broadcast to `all` clients.
    pub(super) fn shout(&mut self, all: u64) {
        let number = self.hall.lock().expect(all);
        self.client.push(number, "shout", &payload(number));
    }
}

impl Tally {
    /// Begins the next broadcast to `all` clients, and returns its number.
    fn expect(&mut self, all: u64) -> u64 {
        self.number += 1;
        self.missing += all + 1;
        self.number
    }

    /// Counts a broadcast or a reply. `last` is the number of the one before it: those of one
    /// sender on one topic come in order.
    fn arrive(&mut self, number: u64, last: &mut u64) {
        if *last < number && number <= self.number {
            *last = number;
            self.missing -= 1;
        } else {
            self.duplicated += 1;
        }
    }

    fn delivered(&mut self, number: u64, now: Instant) {
        self.delivered += 1;
        if let Some((schedule, latencies)) = &mut self.measuring {
            latencies.record(now.saturating_duration_since(schedule.due(number)));
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

    #[test]
    fn one_that_is_left_out_of_a_burst_stays_missing() {
        let (mut tally, mut heard, mut answered) = (Tally::default(), 0, 0);
        for _ in 0..3 {
            tally.expect(1);
        }
        for number in [1, 3] {
            tally.arrive(number, &mut heard);
        }
        for number in 1..=3 {
            tally.arrive(number, &mut answered);
        }
        assert_eq!((tally.missing, tally.duplicated), (1, 0));
    }
}
