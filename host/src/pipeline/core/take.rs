//! What a consumer's next call works on.

use super::Core;
use crate::pipeline::consumer::{Delivery, Ready};
use crate::pipeline::event::{ConsumerId, EventId, Now};
use crate::pipeline::slots::Place;

/// Events for one call of a worker: their payloads one after the other, and a
/// line about each.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The payloads, one after the other.
    pub payloads: Vec<u8>,
    /// The texts of their keys.
    pub keys: Vec<u8>,
    /// A line about each event.
    pub metas: Vec<Meta>,
    pub(crate) deliveries: Vec<Delivery>,
}

/// One event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Its number.
    pub event: EventId,
    /// Where its payload ends.
    pub payload_end: u32,
    /// Where its key ends.
    pub key_end: u32,
    /// Counted from 1.
    pub attempt: u32,
    /// Milliseconds since the Unix epoch.
    pub stamped_ms: u64,
    /// When it was enqueued, in nanoseconds of the pipeline's clock.
    pub enqueued_ns: u64,
}

/// What a consumer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Next {
    /// A call with the batch.
    Call,
    /// It waits to be woken, but no longer than until then.
    Wait(Option<u64>),
}

impl Batch {
    pub(in crate::pipeline) fn clear(&mut self) {
        self.payloads.clear();
        self.keys.clear();
        self.metas.clear();
        self.deliveries.clear();
    }

    pub(in crate::pipeline) fn len(&self) -> usize {
        self.metas.len()
    }
}

impl Core {
    /// Fills `batch`, which is empty, with what a consumer works on next. At
    /// most `allowed` events, for the sake of a rate.
    pub(in crate::pipeline) fn take(
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
            taker.take(allowed, &mut batch.deliveries);
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

    /// Copies out what the worker gets. What is too old for it is left out, and
    /// returned.
    fn fill(&mut self, now: Now, batch: &mut Batch) -> Vec<Delivery> {
        let Batch { payloads, keys, metas, deliveries } = batch;
        let deadline = self.config.deadline.map(|deadline| deadline.as_nanos());
        let mut expired = Vec::new();
        deliveries.retain(|delivery| {
            let Some(slot) = self.slots.put(delivery.event, Place::Running) else { return false };
            let age = u128::from(now.0.saturating_sub(slot.enqueued_ns));
            if deadline.is_some_and(|deadline| age > deadline) {
                expired.push(*delivery);
                return false;
            }
            payloads.extend_from_slice(&slot.payload);
            if let Some(key) = slot.key {
                keys.extend_from_slice(self.keys.get(key).text.as_bytes());
            }
            metas.push(Meta {
                event: delivery.event,
                payload_end: u32::try_from(payloads.len()).unwrap_or(u32::MAX),
                key_end: u32::try_from(keys.len()).unwrap_or(u32::MAX),
                attempt: u32::from(delivery.attempts) + 1,
                stamped_ms: slot.stamped_ms,
                enqueued_ns: slot.enqueued_ns,
            });
            true
        });
        expired
    }
}
