//! A consumer of a stage: its demand, the events it was assigned, and its calls under way.

use std::collections::VecDeque;

use super::demand::{Demand, DemandLimits};
use super::dispatcher::Subscription;
use super::event::EventId;

/// The settings of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConsumerConfig {
    pub(super) subscription: Subscription,
    pub(super) demand: DemandLimits,
    /// The number of events of one call at most.
    pub(super) batch_size: u32,
    /// The time that it waits for a batch to fill, in nanoseconds. Then it starts a call with the
    /// events it has.
    pub(super) batch_timeout_ns: u64,
    /// The number of calls under way at most.
    pub(super) concurrency: u32,
}

/// An event that a consumer was assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    pub(super) event: EventId,
    /// The number of attempts before this one, in this stage.
    pub(super) attempts: u16,
}

/// A consumer of a stage.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) config: ConsumerConfig,
    pub(super) demand: Demand,
    /// The number of events it has asked for and was not assigned yet.
    pub(super) asked: u32,
    /// The events it was assigned and has not started, the oldest first.
    queue: VecDeque<Delivery>,
    /// The time at which the first event came into the empty queue, in nanoseconds of the
    /// pipeline's clock.
    filling_since_ns: u64,
    /// The parts of batches that failed as a whole; each is the next call's batch.
    parts: Vec<Vec<Delivery>>,
    /// The number of calls under way.
    pub(super) calls: u32,
    /// The number of copies of a broadcast, in the batch that ends now, that will be tried again.
    /// They stay a part of the demand, so the consumer does not ask for others in their place.
    pub(super) kept: u32,
    /// Whether its subscription has ended: it is assigned no more events.
    pub(super) cancelled: bool,
}

/// Whether a consumer can start a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It can start a call now.
    Now,
    /// It waits for its batch to fill, at most until this time in nanoseconds of the pipeline's
    /// clock.
    At(u64),
    /// It waits for events, or for one of its calls to end.
    No,
}

impl Consumer {
    pub(super) fn new(config: ConsumerConfig) -> Self {
        Self {
            demand: Demand::new(config.demand),
            config,
            asked: 0,
            queue: VecDeque::new(),
            filling_since_ns: 0,
            parts: Vec::new(),
            calls: 0,
            kept: 0,
            cancelled: false,
        }
    }

    pub(super) fn assign(&mut self, delivery: Delivery, now_ns: u64) {
        if self.queue.is_empty() {
            self.filling_since_ns = now_ns;
        }
        self.queue.push_back(delivery);
    }

    /// The number of events of its next call at most. As in GenStage, that is no more than
    /// `max_demand` less `min_demand`.
    fn batch_size(&self) -> usize {
        self.config.batch_size.min(self.config.demand.max_batch()) as usize
    }

    pub(super) fn ready(&self, now_ns: u64) -> Ready {
        if self.calls >= self.config.concurrency {
            return Ready::No;
        }
        if !self.parts.is_empty() {
            return Ready::Now;
        }
        let full = self.queue.len() >= self.batch_size();
        let timeout = self.config.batch_timeout_ns;
        match self.queue.is_empty() {
            true => Ready::No,
            // Once it was assigned all it asked for, no more events can come.
            false if full || timeout == 0 || self.asked == 0 => Ready::Now,
            false => match self.filling_since_ns.saturating_add(timeout) {
                at if at <= now_ns => Ready::Now,
                at => Ready::At(at),
            },
        }
    }

    /// Moves the events of its next call to `batch`: at most `max`, but a part of a split batch
    /// as a whole.
    pub(super) fn take(&mut self, max: usize, batch: &mut Vec<Delivery>) {
        if let Some(part) = self.parts.pop() {
            batch.extend(part);
            return;
        }
        let size = self.batch_size().min(max).min(self.queue.len());
        batch.extend(self.queue.drain(..size));
    }

    /// Splits a batch whose call failed: each half is the batch of a call of its own.
    pub(super) fn split(&mut self, batch: &[Delivery]) {
        let (first, second) = batch.split_at(batch.len() / 2);
        // The last part that is pushed is taken first.
        self.parts.push(second.to_vec());
        self.parts.push(first.to_vec());
    }

    /// Takes out the events that it was assigned and has not started.
    pub(super) fn take_back(&mut self) -> Vec<Delivery> {
        let parts = std::mem::take(&mut self.parts).into_iter().flatten();
        parts.chain(std::mem::take(&mut self.queue)).collect()
    }

    /// The number of events that it was assigned and has not started.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.parts.iter().map(Vec::len).sum::<usize>()
    }
}
