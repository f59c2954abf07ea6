//! The queue of a built-in dispatcher: events that wait, some of which are withdrawn meanwhile.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::event::EventId;

/// Events in the order in which they were offered, each with a value.
#[derive(Debug)]
pub(super) struct Queue<T> {
    events: VecDeque<(EventId, T)>,
    /// The events that were withdrawn and are still in `events`, each with how often: an event
    /// that was offered again may be withdrawn again before its first entry is popped.
    withdrawn: HashMap<EventId, u32>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { events: VecDeque::new(), withdrawn: HashMap::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, event: EventId, known: T) {
        self.events.push_back((event, known));
    }

    pub(super) fn pop(&mut self) -> Option<(EventId, T)> {
        loop {
            let (event, known) = self.events.pop_front()?;
            if self.withdrawn.is_empty() || !self.passes_over(event) {
                return Some((event, known));
            }
        }
    }

    /// Whether this entry of the event was withdrawn.
    fn passes_over(&mut self, event: EventId) -> bool {
        let Entry::Occupied(mut times) = self.withdrawn.entry(event) else { return false };
        *times.get_mut() -= 1;
        if *times.get() == 0 {
            times.remove();
        }
        true
    }

    /// Takes out an event of the queue: at once if it is the first, which is the rule. Any other
    /// is passed over by [`Self::pop`].
    pub(super) fn withdraw(&mut self, event: EventId) {
        if self.events.front().is_some_and(|(first, _)| *first == event) {
            self.events.pop_front();
        } else {
            *self.withdrawn.entry(event).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_again_and_again_has_its_last_turn() {
        let event = |number| EventId::from_number(number).unwrap();
        let mut queue = Queue::default();
        queue.push(event(1), ());
        queue.push(event(2), ());
        for _ in 0..3 {
            queue.withdraw(event(2));
            queue.push(event(2), ());
        }
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(event, ())| event).collect();
        assert_eq!(popped, [event(1), event(2)]);
        assert!(queue.withdrawn.is_empty());
    }
}
