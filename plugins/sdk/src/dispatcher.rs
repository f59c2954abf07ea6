//! Policies of dispatch.

use crate::Result;
use crate::bindings::dispatcher::exports::millrace::plugin::dispatcher as raw;

pub use raw::Columns;

/// Decides which consumer of a pipeline's stage gets which event.
///
/// It is told of events by their numbers and keys, and remembers those it has not
/// assigned. One value serves one stage, for as long as it does what it has to;
/// the server checks each answer (see `wit/v0.1/dispatcher.wit`).
///
/// ```
/// # use millrace_plugin::dispatcher::{Assignments, Columns, Consumers, Dispatcher, Offer};
/// # use millrace_plugin::Result;
/// /// The last event first.
/// #[derive(Default)]
/// struct Stack { events: Vec<u64>, consumers: Consumers }
///
/// impl Dispatcher for Stack {
///     fn new() -> Result<Self> { Ok(Self::default()) }
///     fn columns(&self) -> Columns { Columns::empty() }
///     fn consumers(&mut self) -> &mut Consumers { &mut self.consumers }
///
///     fn dispatch(&mut self, offer: &Offer, assignments: &mut Assignments) {
///         self.events.retain(|event| !offer.withdrawn.contains(event));
///         self.events.extend(&offer.events);
///         while self.consumers.are_asking() && let Some(event) = self.events.pop() {
///             assignments.assign(event, &mut self.consumers);
///         }
///     }
/// }
///
/// millrace_plugin::export_dispatcher!(Stack);
/// # fn main() {}
/// ```
pub trait Dispatcher: Sized {
    /// Begins, perhaps with what `config::get` gives. An error refuses the plugin.
    fn new() -> Result<Self>;

    /// What it wants to know of events besides their numbers.
    fn columns(&self) -> Columns;

    /// Who asks for events, and for how many.
    fn consumers(&mut self) -> &mut Consumers;

    /// Takes what happened, and assigns what it can to those that ask. Events that
    /// are withdrawn are to be forgotten before those that came are looked at.
    fn dispatch(&mut self, offer: &Offer, assignments: &mut Assignments);

    /// What its next version is to know.
    fn snapshot(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes what the version before gave, as far as it can be read.
    fn restore(&mut self, state: &[u8]) {
        let _ = state;
    }
}

/// What happened since the last call.
#[derive(Debug)]
pub struct Offer(raw::Offer);

impl std::ops::Deref for Offer {
    type Target = raw::Offer;

    fn deref(&self) -> &raw::Offer {
        &self.0
    }
}

impl Offer {
    /// What the server handed over.
    #[must_use]
    pub fn new(raw: raw::Offer) -> Self {
        Self(raw)
    }

    /// The texts of the keys, in the order of the events.
    pub fn key_texts(&self) -> impl Iterator<Item = &str> {
        let mut from = 0;
        self.0.key_ends.iter().map(move |end| {
            let end = *end as usize;
            let text = self.0.key_texts.get(from..end).unwrap_or_default();
            from = end;
            // The host hands over UTF-8.
            std::str::from_utf8(text).unwrap_or_default()
        })
    }
}

/// Who gets what.
#[derive(Debug, Default)]
pub struct Assignments {
    events: Vec<u64>,
    consumers: Vec<u32>,
}

impl Assignments {
    /// Assigns an event to the consumer that asks for most; it stays unassigned
    /// when nobody asks.
    pub fn assign(&mut self, event: u64, consumers: &mut Consumers) {
        if let Some(consumer) = consumers.next() {
            self.assign_to(event, consumer);
        }
    }

    /// Assigns an event to a consumer.
    pub fn assign_to(&mut self, event: u64, consumer: u32) {
        self.events.push(event);
        self.consumers.push(consumer);
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Pairs of an event and its consumer, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.events.iter().copied().zip(self.consumers.iter().copied())
    }

    pub(crate) fn into_raw(self) -> raw::Assignments {
        raw::Assignments { events: self.events, consumers: self.consumers }
    }
}

/// The consumers of a stage, and what each has asked for and not got.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    consumers: Vec<Consumer>,
    /// Where the one with the largest demand is.
    first: usize,
    max_demand: u64,
}

#[derive(Clone, Copy, Debug)]
struct Consumer {
    id: u32,
    demand: u32,
    max_demand: u32,
}

impl Consumers {
    /// One more.
    pub fn subscribe(&mut self, id: u32, max_demand: u32) {
        self.consumers.push(Consumer { id, demand: 0, max_demand });
        self.changed();
    }

    /// One less.
    pub fn cancel(&mut self, id: u32) {
        self.consumers.retain(|consumer| consumer.id != id);
        self.changed();
    }

    /// One asks for so many more.
    pub fn ask(&mut self, id: u32, demand: u32) {
        if let Some(asks) = self.consumers.iter_mut().find(|consumer| consumer.id == id) {
            asks.demand = asks.demand.saturating_add(demand);
        }
        self.changed();
    }

    /// Whether somebody asks for more.
    #[must_use]
    pub fn are_asking(&self) -> bool {
        self.consumers.get(self.first).is_some_and(|first| first.demand > 0)
    }

    /// The consumer that asks for most, of whose demand this takes one; `None` when
    /// nobody asks.
    #[expect(clippy::should_implement_trait, reason = "there may be more after `None`")]
    pub fn next(&mut self) -> Option<u32> {
        let first = self.consumers.get_mut(self.first).filter(|first| first.demand > 0)?;
        first.demand -= 1;
        let id = first.id;
        if self.consumers.len() > 1 {
            self.changed();
        }
        Some(id)
    }

    /// What all of them ask for at most.
    #[must_use]
    pub fn max_demand(&self) -> u64 {
        self.max_demand
    }

    fn changed(&mut self) {
        let demands = self.consumers.iter().map(|consumer| consumer.demand).enumerate();
        self.first = demands.rev().max_by_key(|(_, demand)| *demand).map_or(0, |(at, _)| at);
        self.max_demand = self.consumers.iter().map(|c| u64::from(c.max_demand)).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_most_is_next() {
        let mut consumers = Consumers::default();
        assert_eq!(consumers.next(), None);
        consumers.subscribe(7, 5);
        consumers.subscribe(8, 5);
        consumers.ask(7, 1);
        consumers.ask(8, 2);
        let next: Vec<_> = std::iter::from_fn(|| consumers.next()).collect();
        assert_eq!(next, [8, 7, 8]);
        consumers.ask(8, 9);
        consumers.cancel(8);
        assert_eq!((consumers.next(), consumers.max_demand()), (None, 5));
    }
}
