//! What a consumer's next call works on.

use std::time::Duration;

use super::Core;
use crate::consumer::{Delivery, Ready};
use crate::event::{ConsumerId, Now};
use crate::slots::{Place, Slot};

/// Events for one call of a worker, in the form in which a plugin gets them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The payloads, one after the other.
    pub payloads: Vec<u8>,
    /// The texts of the keys, one after the other.
    pub keys: Vec<u8>,
    /// A row for each event.
    pub rows: Vec<Row>,
    /// Each event's place in the batch and the attempt it is.
    pub deliveries: Vec<Delivery>,
    /// How long each waited, in nanoseconds.
    pub waits_ns: Vec<u64>,
}

/// One event of a batch: its number ([`EventId::get`]), where its payload ends,
/// where its key ends, the attempt, and when it came about, in milliseconds since
/// the Unix epoch.
///
/// [`EventId::get`]: crate::EventId::get
pub type Row = [u64; 5];

/// What a consumer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A call with the batch.
    Call,
    /// It waits to be woken, but no longer than until then.
    Wait(Option<u64>),
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.payloads.clear();
        self.keys.clear();
        self.rows.clear();
        self.deliveries.clear();
        self.waits_ns.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    fn push(&mut self, delivery: Delivery, slot: &Slot, key: &str, wait_ns: u64) {
        self.payloads.extend_from_slice(&slot.payload);
        self.keys.extend_from_slice(key.as_bytes());
        let ends = (self.payloads.len() as u64, self.keys.len() as u64);
        let attempt = u64::from(delivery.attempts) + 1;
        self.rows.push([delivery.event.get(), ends.0, ends.1, attempt, slot.enqueued_unix_ms]);
        self.deliveries.push(delivery);
        self.waits_ns.push(wait_ns);
    }
}

impl Core {
    /// Fills `batch`, which is empty, with what a consumer works on next. At
    /// most `allowed` events, for the sake of a rate.
    pub(crate) fn take(
        &mut self,
        stage: usize,
        consumer: ConsumerId,
        allowed: usize,
        now: Now,
        batch: &mut Batch,
    ) -> Next {
        loop {
            self.tick(now);
            let Some(staged) = self.stages.get_mut(stage) else { return Next::Wait(None) };
            let Some(taker) = staged.consumers.get_mut(consumer.index()) else {
                return Next::Wait(None);
            };
            let due = self.delayed.next_due();
            match taker.ready(now.0) {
                Ready::Now if allowed > 0 => {}
                Ready::At(at) => return Next::Wait(Some(due.map_or(at, |due| due.min(at)))),
                Ready::Now | Ready::No => return Next::Wait(due),
            }
            taker.take(allowed, &mut self.taken);
            let expired = self.fill(now, batch);
            self.expired(stage, consumer, &expired, now);
            if !batch.deliveries.is_empty() {
                if let Some(taker) = self.consumer(stage, consumer) {
                    taker.calls += 1;
                }
                return Next::Call;
            }
        }
    }

    /// Copies out what the worker gets of `taken`. What is too old for it is left out, and
    /// returned.
    fn fill(&mut self, now: Now, batch: &mut Batch) -> Vec<Delivery> {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let deadline = self.config.deadline.map(nanoseconds);
        let mut expired = Vec::new();
        let mut taken = std::mem::take(&mut self.taken);
        for delivery in taken.drain(..) {
            let Some(slot) = self.slots.put(delivery.event, Place::Running) else { continue };
            let wait = now.0.saturating_sub(slot.enqueued_ns);
            if deadline.is_some_and(|deadline| wait > deadline) {
                expired.push(delivery);
                continue;
            }
            let key = slot.key.map_or("", |key| &self.keys.get(key).text);
            batch.push(delivery, slot, key, wait);
        }
        self.taken = taken;
        expired
    }
}
