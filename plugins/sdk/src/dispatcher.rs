//! Dispatchers: policies that assign the events of a pipeline to its consumers.

use crate::Result;
use crate::bindings::dispatcher::exports::millrace::plugin::dispatcher as raw;

pub use raw::Columns;

/// Decides which consumer of a pipeline's stage gets which event.
///
/// The server hands over the numbers and keys of events, and the dispatcher remembers those that it
/// has not assigned. One value serves one stage, until it breaks its contract; the server checks
/// each answer (see `wit/v0.2/dispatcher.wit`).
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
    /// Makes the dispatcher, perhaps from the settings in `config::get`. After an error the plugin
    /// does not start.
    fn new() -> Result<Self>;

    /// The columns that the dispatcher needs of events, besides their numbers.
    fn columns(&self) -> Columns;

    /// The consumers of the stage, with their demand.
    fn consumers(&mut self) -> &mut Consumers;

    /// Takes what has happened since the last call, and assigns events to consumers that have
    /// demand. Forget the withdrawn events before you add the new ones: an event may be in both.
    fn dispatch(&mut self, offer: &Offer, assignments: &mut Assignments);

    /// The state that the next version of the dispatcher gets.
    fn snapshot(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes the state that the version before has left, as far as it can be read.
    fn restore(&mut self, state: &[u8]) {
        let _ = state;
    }
}

/// The things that happened since the last call.
#[derive(Debug)]
pub struct Offer(raw::Offer);

impl std::ops::Deref for Offer {
    type Target = raw::Offer;

    fn deref(&self) -> &raw::Offer {
        &self.0
    }
}

impl Offer {
    /// Wraps the record that the server has handed over.
    #[must_use]
    pub fn new(raw: raw::Offer) -> Self {
        Self(raw)
    }

    /// The texts of the keys, in the order of the events. Empty unless [`Dispatcher::columns`] has
    /// [`Columns::KEY_TEXTS`].
    pub fn key_texts(&self) -> impl Iterator<Item = &str> {
        let mut from = 0;
        self.0.key_ends.iter().map(move |end| {
            let end = *end as usize;
            let text = self.0.key_texts.get(from..end).unwrap_or_default();
            from = end;
            // The server hands over UTF-8.
            std::str::from_utf8(text).unwrap_or_default()
        })
    }
}

/// The events that are assigned, each with its consumer.
#[derive(Debug, Default)]
pub struct Assignments {
    events: Vec<u64>,
    consumers: Vec<u32>,
}

impl Assignments {
    /// Assigns an event to the consumer with the largest demand. If no consumer has demand, the
    /// event is not assigned.
    pub fn assign(&mut self, event: u64, consumers: &mut Consumers) {
        if let Some(consumer) = consumers.next() {
            self.assign_to(event, consumer);
        }
    }

    /// Assigns an event to a consumer. The consumer must have demand.
    pub fn assign_to(&mut self, event: u64, consumer: u32) {
        self.events.push(event);
        self.consumers.push(consumer);
    }

    /// The number of assigned events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether no event is assigned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The assigned events with their consumers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u32)> {
        self.events.iter().copied().zip(self.consumers.iter().copied())
    }

    pub(crate) fn into_raw(self) -> raw::Assignments {
        raw::Assignments { events: self.events, consumers: self.consumers }
    }
}

/// The consumers of a stage, and the demand of each: the events that it has asked for and not got.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    consumers: Vec<Consumer>,
    /// The place of the consumer with the largest demand.
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
    /// Adds a consumer, which has at most `max_demand` events at a time.
    pub fn subscribe(&mut self, id: u32, max_demand: u32) {
        self.consumers.push(Consumer { id, demand: 0, max_demand });
        self.changed();
    }

    /// Removes a consumer.
    pub fn cancel(&mut self, id: u32) {
        self.consumers.retain(|consumer| consumer.id != id);
        self.changed();
    }

    /// Adds to the demand of a consumer.
    pub fn ask(&mut self, id: u32, demand: u32) {
        if let Some(asks) = self.consumers.iter_mut().find(|consumer| consumer.id == id) {
            asks.demand = asks.demand.saturating_add(demand);
        }
        self.changed();
    }

    /// Whether any consumer has demand.
    #[must_use]
    pub fn are_asking(&self) -> bool {
        self.consumers.get(self.first).is_some_and(|first| first.demand > 0)
    }

    /// Takes one from the demand of the consumer that has the largest, and returns that consumer.
    /// `None` when no consumer has demand.
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

    /// The sum of what all consumers may have at a time.
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
