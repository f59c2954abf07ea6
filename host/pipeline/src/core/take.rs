//! The batch for the next call of a consumer.

use std::time::Duration;

use super::Core;
use crate::consumer::{Delivery, Ready};
use crate::event::{Now, StageConsumer};
use crate::slots::{Place, Slot};

/// The events for one call of a worker, in the form in which a plugin gets them: as columns, so
/// that they are copied into its memory at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The payloads, one after the other.
    pub payloads: Vec<u8>,
    /// The texts of the keys, one after the other.
    pub keys: Vec<u8>,
    /// The number, ends, attempt and time of each event.
    pub rows: Vec<Row>,
    /// The events and their attempts so far, to tell the core how the call ended.
    pub deliveries: Vec<Delivery>,
    /// The time that each event has waited, in nanoseconds.
    pub waits_ns: Vec<u64>,
}

/// One event of a batch: its number ([`EventId::get`]), the end of its payload in
/// [`Batch::payloads`] in bytes, the end of its key in [`Batch::keys`] in bytes, the attempt,
/// counted from 1, and the time at which it was enqueued, in milliseconds since the Unix epoch.
///
/// [`EventId::get`]: crate::EventId::get
pub type Row = [u64; 5];

/// The next step of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It calls its worker with the batch.
    Call,
    /// It waits to be woken, at most until this time in nanoseconds of the pipeline's clock.
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
    /// Fills `batch`, which is empty, with the events of a consumer's next call: at most
    /// `allowed`, which is what `rate_per_second` has left.
    pub(crate) fn take(
        &mut self,
        consumer: StageConsumer,
        allowed: usize,
        now: Now,
        batch: &mut Batch,
    ) -> Next {
        loop {
            self.tick(now);
            let due = self.delayed.next_due();
            let stage = self.stages.get_mut(consumer.stage);
            let taker = stage.and_then(|stage| stage.consumers.get_mut(consumer.id.index()));
            let Some(taker) = taker else { return Next::Wait(None) };
            match taker.ready(now.0) {
                Ready::Now if allowed > 0 => {}
                Ready::At(at) => return Next::Wait(Some(due.map_or(at, |due| due.min(at)))),
                Ready::Now | Ready::No => return Next::Wait(due),
            }
            taker.take(allowed, &mut self.taken);
            let expired = self.fill(now, batch);
            self.expire(consumer, &expired, now);
            if !batch.deliveries.is_empty() {
                if let Some(taker) = self.consumer(consumer) {
                    taker.calls += 1;
                }
                return Next::Call;
            }
        }
    }

    /// Copies the events of `taken` into the batch. Those that are older than the deadline are
    /// left out and returned.
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
