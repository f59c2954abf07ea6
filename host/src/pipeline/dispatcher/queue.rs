//! Events that wait, some of which are withdrawn meanwhile.

use std::collections::{HashSet, VecDeque};

use crate::pipeline::event::EventId;

/// Events in the order of their coming, each with what there is to know of it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    events: VecDeque<(EventId, T)>,
    /// Those of `events` that were withdrawn.
    withdrawn: HashSet<EventId>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { events: VecDeque::new(), withdrawn: HashSet::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, event: EventId, known: T) {
        self.events.push_back((event, known));
    }

    pub(super) fn pop(&mut self) -> Option<(EventId, T)> {
        loop {
            let (event, known) = self.events.pop_front()?;
            if self.withdrawn.is_empty() || !self.withdrawn.remove(&event) {
                return Some((event, known));
            }
        }
    }

    /// Takes out an event that is in it: the oldest as a rule. Any other is passed
    /// over when its turn comes.
    pub(super) fn withdraw(&mut self, event: EventId) {
        if self.events.front().is_some_and(|(first, _)| *first == event) {
            self.events.pop_front();
        } else {
            self.withdrawn.insert(event);
        }
    }
}
