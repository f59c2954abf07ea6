//! A dispatcher that prefers urgent events, and lets no event wait for ever.
//!
//! Each event has the priority that it was enqueued with, from 0 to 255, and gains one for every
//! `aging_ms` (1,000 by default) that it waits. All events gain at the same pace, so the order of
//! two events never changes: it is that of their arrival times, each reduced by its priority times
//! `aging_ms`.
//!
//! ```toml
//! [plugins.priority]
//! path = "plugins/priority"
//! config = { aging_ms = 500 }
//! ```

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use millrace_plugin::dispatcher::{Assignments, Columns, Consumers, Dispatcher, Offer};
use millrace_plugin::host::config;
use millrace_plugin::{Error, Result};

/// The events that wait, the most urgent first.
#[derive(Debug, Default)]
struct Priority {
    consumers: Consumers,
    aging_ns: i128,
    /// Urgency (the arrival time less what the priority is worth, in ns), number of arrival, and
    /// event.
    events: BinaryHeap<Reverse<(i128, u64, u64)>>,
    /// The number of events that have come so far.
    came: u64,
    /// The withdrawn events that are still in `events`.
    withdrawn: HashSet<u64>,
}

/// The default of `aging_ms`: an event of priority 5 waits at most five seconds longer than one of
/// priority 10.
const AGING_MS: u32 = 1_000;

/// The fewest withdrawn events for which a search through all that wait is worthwhile.
const MIN_SWEEP: usize = 1_024;

impl Priority {
    fn aging(ms: u32) -> Self {
        Self { aging_ns: i128::from(ms) * 1_000_000, ..Self::default() }
    }

    fn push(&mut self, event: u64, priority: u8, came_ns: u64) {
        let urgency = i128::from(came_ns) - i128::from(priority) * self.aging_ns;
        self.came += 1;
        self.events.push(Reverse((urgency, self.came, event)));
    }

    /// Withdraws events. They are skipped when their turn comes. All of them are removed at once
    /// when they are half of all, or when one of them comes again.
    fn withdraw(&mut self, events: &[u64], fresh: &[u64]) {
        self.withdrawn.extend(events);
        let comes_again = || fresh.iter().any(|event| self.withdrawn.contains(event));
        let are_many = self.withdrawn.len() >= MIN_SWEEP.max(self.events.len() / 2);
        if are_many || !self.withdrawn.is_empty() && comes_again() {
            let withdrawn = std::mem::take(&mut self.withdrawn);
            self.events.retain(|Reverse((_, _, event))| !withdrawn.contains(event));
        }
    }

    fn pop(&mut self) -> Option<u64> {
        loop {
            let Reverse((_, _, event)) = self.events.pop()?;
            if !self.withdrawn.remove(&event) {
                return Some(event);
            }
        }
    }
}

impl Dispatcher for Priority {
    fn new() -> Result<Self> {
        let Some(text) = config::get("aging_ms") else { return Ok(Self::aging(AGING_MS)) };
        let expected = "a number of milliseconds, at least 1, is expected";
        let ms = text.parse().ok().filter(|ms| *ms > 0);
        ms.map(Self::aging).ok_or_else(|| Error::msg(format!("aging_ms is {text:?}; {expected}")))
    }

    fn columns(&self) -> Columns {
        Columns::PRIORITIES | Columns::TIMES
    }

    fn consumers(&mut self) -> &mut Consumers {
        &mut self.consumers
    }

    fn dispatch(&mut self, offer: &Offer, assignments: &mut Assignments) {
        self.withdraw(&offer.withdrawn, &offer.events);
        let priorities = offer.priorities.iter().zip(&offer.times_ns);
        for (event, (priority, came_ns)) in offer.events.iter().zip(priorities) {
            self.push(*event, *priority, *came_ns);
        }
        while self.consumers.are_asking()
            && let Some(event) = self.pop()
        {
            assignments.assign(event, &mut self.consumers);
        }
    }
}

millrace_plugin::export_dispatcher!(Priority);

#[cfg(test)]
mod tests;
