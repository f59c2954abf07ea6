//! Events that wait, some of which are withdrawn meanwhile.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::event::EventId;

/// Events in the order of their coming, each with what there is to know of it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    events: VecDeque<(EventId, T)>,
    /// Those of `events` that were withdrawn, each with how often: one that came
    /// again may be withdrawn again before the first has had its turn.
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

    /// Whether the first of this event in the queue was withdrawn.
    fn passes_over(&mut self, event: EventId) -> bool {
        let Entry::Occupied(mut times) = self.withdrawn.entry(event) else { return false };
        *times.get_mut() -= 1;
        if *times.get() == 0 {
            times.remove();
        }
        true
    }

    /// Takes out an event that is in it: the oldest as a rule. Any other is passed
    /// over when its turn comes.
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
