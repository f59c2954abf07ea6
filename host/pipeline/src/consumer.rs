//! One consumer of a stage: what it asked for, what it was given, and what it
//! works on.

use std::collections::VecDeque;

use super::demand::{Demand, DemandLimits};
use super::dispatcher::Subscription;
use super::event::EventId;

/// How a consumer works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConsumerConfig {
    pub(super) subscription: Subscription,
    pub(super) demand: DemandLimits,
    /// The most events of one call.
    pub(super) batch_size: u32,
    /// How long it waits for a batch to fill, in nanoseconds.
    pub(super) batch_timeout_ns: u64,
    /// The most calls at a time.
    pub(super) concurrency: u32,
}

/// An event on its way to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delivery {
    pub(super) event: EventId,
    /// Attempts before this one.
    pub(super) attempts: u16,
}

/// One consumer of a stage.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) config: ConsumerConfig,
    pub(super) demand: Demand,
    /// Asked for, and not assigned yet.
    pub(super) asked: u32,
    /// Assigned, and not started.
    queue: VecDeque<Delivery>,
    /// When the queue was empty last, and then was not.
    filling_since_ns: u64,
    /// Parts of a batch that failed as a whole, to be tried each for itself.
    parts: Vec<Vec<Delivery>>,
    /// Calls under way.
    pub(super) calls: u32,
    /// Of the batch that ended just now: copies of a broadcast that come back.
    pub(super) kept: u32,
    /// It takes no more.
    pub(super) cancelled: bool,
}

/// What a consumer may do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// Start a call.
    Now,
    /// Wait for its batch to fill, at most until then.
    At(u64),
    /// Wait for events, or for a call to end.
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

    /// The most events of its next call.
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
            // Once all it asked for has come, there is nothing to wait for.
            false if full || timeout == 0 || self.asked == 0 => Ready::Now,
            false => match self.filling_since_ns.saturating_add(timeout) {
                at if at <= now_ns => Ready::Now,
                at => Ready::At(at),
            },
        }
    }

    /// Moves the events of its next call to `batch`, at most `max`.
    pub(super) fn take(&mut self, max: usize, batch: &mut Vec<Delivery>) {
        if let Some(part) = self.parts.pop() {
            batch.extend(part);
            return;
        }
        let size = self.batch_size().min(max).min(self.queue.len());
        batch.extend(self.queue.drain(..size));
    }

    /// A call with these came to nothing: each half is tried for itself.
    pub(super) fn split(&mut self, batch: &[Delivery]) {
        let (first, second) = batch.split_at(batch.len() / 2);
        // The last in is the first out.
        self.parts.push(second.to_vec());
        self.parts.push(first.to_vec());
    }

    /// What was assigned to it and not started.
    pub(super) fn take_back(&mut self) -> Vec<Delivery> {
        let parts = std::mem::take(&mut self.parts).into_iter().flatten();
        parts.chain(std::mem::take(&mut self.queue)).collect()
    }

    /// How many events it has that it has not started.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + self.parts.iter().map(Vec::len).sum::<usize>()
    }
}
