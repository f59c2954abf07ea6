//! A dispatcher that keeps the order, but confines a key that takes over the capacity.
//!
//! Events go out in the order in which they came, until one key has more than `share` (one half by
//! default) of all that the consumers ask for at a time. From then on that key gets `confined`
//! events (1 by default) at a time, and the other keys get the rest, until no event of it waits any
//! more.
//!
//! ```toml
//! [plugins.isolate]
//! path = "plugins/isolate"
//! config = { share = 0.5, confined = 1 }
//! ```

use std::collections::{HashMap, HashSet, VecDeque};
use std::str::FromStr;

use millrace_plugin::dispatcher::{Assignments, Columns, Consumers, Dispatcher, Offer};
use millrace_plugin::host::config;
use millrace_plugin::{Error, Result};

/// The events that wait or are in flight, and the confined keys.
#[derive(Debug, Default)]
struct Isolate {
    consumers: Consumers,
    share: f64,
    confined: u32,
    /// The events that wait, in the order in which they came, each with its key.
    queue: VecDeque<(u64, u64)>,
    /// The withdrawn events that are still in `queue`, or in the queue of a key.
    withdrawn: HashSet<u64>,
    /// The number of withdrawn events at which they are removed.
    sweep_at: usize,
    /// The keys of events in flight, by event.
    in_flight: HashMap<u64, u64>,
    keys: HashMap<u64, Key>,
    /// The confined keys that may have another event in flight.
    ready: VecDeque<u64>,
}

/// A key that has events in flight or is confined.
#[derive(Debug, Default)]
struct Key {
    in_flight: u32,
    confined: bool,
    /// The events of the key, while it is confined.
    waiting: VecDeque<u64>,
}

/// The fewest withdrawn events for which a search through all that wait is worthwhile.
const MIN_SWEEP: usize = 1_024;

impl Isolate {
    fn with(share: f64, confined: u32) -> Self {
        Self { share, confined, sweep_at: MIN_SWEEP, ..Self::default() }
    }

    /// The most events in flight of one key; with more, it is confined.
    fn allowed(&self) -> u32 {
        let capacity = self.consumers.max_demand() as f64 * self.share;
        // At least one, or no key would get anything.
        (capacity as u32).max(1)
    }

    /// Withdraws events. They are skipped when their turn comes. All of them are removed at once
    /// when they are as many as the others, or when one of them comes again.
    fn withdraw(&mut self, events: &[u64], fresh: &[u64]) {
        self.withdrawn.extend(events);
        let comes_again = || fresh.iter().any(|event| self.withdrawn.contains(event));
        if self.withdrawn.len() < self.sweep_at && (self.withdrawn.is_empty() || !comes_again()) {
            return;
        }
        let withdrawn = std::mem::take(&mut self.withdrawn);
        self.queue.retain(|(event, _)| !withdrawn.contains(event));
        let mut left = self.queue.len();
        for key in self.keys.values_mut() {
            key.waiting.retain(|event| !withdrawn.contains(event));
            left += key.waiting.len();
        }
        self.sweep_at = left.max(MIN_SWEEP);
    }

    /// Notes that an event has left its consumer.
    fn finish(&mut self, event: u64) {
        let Some(number) = self.in_flight.remove(&event) else { return };
        let Some(key) = self.keys.get_mut(&number) else { return };
        key.in_flight -= 1;
        if key.confined && !key.waiting.is_empty() {
            self.ready.push_back(number);
        } else if key.in_flight == 0 {
            self.keys.remove(&number);
        }
    }

    /// The next event that may go out.
    fn pop(&mut self) -> Option<u64> {
        if let Some(event) = self.pop_confined() {
            return Some(event);
        }
        let allowed = self.allowed();
        while let Some((event, number)) = self.queue.pop_front() {
            if self.withdrawn.remove(&event) {
                continue;
            }
            let key = self.keys.entry(number).or_default();
            // Events without a key are never confined.
            key.confined |= number != 0 && key.in_flight >= allowed;
            if key.confined && key.in_flight >= self.confined {
                key.waiting.push_back(event);
                continue;
            }
            return Some(self.out(event, number));
        }
        None
    }

    fn pop_confined(&mut self) -> Option<u64> {
        while let Some(number) = self.ready.pop_front() {
            let Some(key) = self.keys.get_mut(&number) else { continue };
            if key.in_flight >= self.confined {
                continue;
            }
            while let Some(event) = key.waiting.pop_front() {
                if !self.withdrawn.remove(&event) {
                    return Some(self.out(event, number));
                }
            }
            // All events that waited were withdrawn.
            if key.in_flight == 0 {
                self.keys.remove(&number);
            }
        }
        None
    }

    fn out(&mut self, event: u64, number: u64) -> u64 {
        self.in_flight.insert(event, number);
        let key = self.keys.entry(number).or_default();
        key.in_flight += 1;
        // Events that came while the key was confined are in its own queue, or at the end of the
        // common one. Once its own queue is empty, the key is free.
        key.confined &= !key.waiting.is_empty() || key.in_flight >= self.confined;
        event
    }
}

fn setting<T: FromStr>(key: &str, default: T, expected: &str) -> Result<T> {
    let Some(text) = config::get(key) else { return Ok(default) };
    text.parse().map_err(|_| Error::msg(format!("{key} is {text:?}; {expected} is expected")))
}

impl Dispatcher for Isolate {
    fn new() -> Result<Self> {
        let share = setting("share", 0.5, "a number from 0 to 1")?;
        let confined: u32 = setting("confined", 1, "a number of at least 1")?;
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::msg(format!("share is {share}; 0 to 1 are allowed")));
        }
        Ok(Self::with(share, confined.max(1)))
    }

    fn columns(&self) -> Columns {
        Columns::KEYS | Columns::FINISHED
    }

    fn consumers(&mut self) -> &mut Consumers {
        &mut self.consumers
    }

    fn dispatch(&mut self, offer: &Offer, assignments: &mut Assignments) {
        self.withdraw(&offer.withdrawn, &offer.events);
        offer.finished.iter().for_each(|event| self.finish(*event));
        self.queue.extend(offer.events.iter().copied().zip(offer.keys.iter().copied()));
        while self.consumers.are_asking()
            && let Some(event) = self.pop()
        {
            assignments.assign(event, &mut self.consumers);
        }
    }
}

millrace_plugin::export_dispatcher!(Isolate);

#[cfg(test)]
mod tests;
