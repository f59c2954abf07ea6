//! Many queues in one vector.
//!
//! With a vector for each key, each event would be somewhere else in memory. Here, events that were
//! pushed one after the other lie side by side, whatever their keys are, and the next push reuses
//! the place of the last event that was popped. So turns that go around the keys read the memory in
//! order.

/// The events of all queues.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    entries: Vec<Entry>,
    /// The first free entry; each free entry has the place of the next one.
    free: Place,
}

/// One queue: the places of its first and last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Queue {
    first: Place,
    last: Place,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    event: u64,
    next: Place,
}

/// The index of an entry, or [`NOWHERE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u32);

const NOWHERE: Place = Place(u32::MAX);

impl Default for Place {
    fn default() -> Self {
        NOWHERE
    }
}

impl Queue {
    /// A queue without events.
    pub(crate) const EMPTY: Self = Self { first: NOWHERE, last: NOWHERE };

    pub(crate) fn is_empty(&self) -> bool {
        self.first == NOWHERE
    }
}

impl Queues {
    /// Adds an event at the end of a queue.
    pub(crate) fn push(&mut self, queue: &mut Queue, event: u64) {
        let place = self.take(Entry { event, next: NOWHERE });
        match self.entry(queue.last) {
            Some(last) => last.next = place,
            None => queue.first = place,
        }
        queue.last = place;
    }

    /// Takes the first event out of a queue.
    pub(crate) fn pop(&mut self, queue: &mut Queue) -> Option<u64> {
        let place = queue.first;
        let Entry { event, next } = *self.entry(place)?;
        queue.first = next;
        if next == NOWHERE {
            queue.last = NOWHERE;
        }
        self.give_back(place);
        Some(event)
    }

    /// Removes an event from a queue, wherever it is; mostly it is the first.
    pub(crate) fn remove(&mut self, queue: &mut Queue, event: u64) {
        let (mut before, mut place) = (NOWHERE, queue.first);
        while let Some(&mut Entry { event: other, next }) = self.entry(place) {
            if other != event {
                (before, place) = (place, next);
                continue;
            }
            match self.entry(before) {
                Some(before) => before.next = next,
                None => queue.first = next,
            }
            if queue.last == place {
                queue.last = before;
            }
            return self.give_back(place);
        }
    }

    fn entry(&mut self, place: Place) -> Option<&mut Entry> {
        self.entries.get_mut(place.0 as usize)
    }

    fn take(&mut self, entry: Entry) -> Place {
        let place = self.free;
        if let Some(free) = self.entry(place) {
            let next = std::mem::replace(free, entry).next;
            self.free = next;
            return place;
        }
        self.entries.push(entry);
        Place(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
    }

    fn give_back(&mut self, place: Place) {
        let next = self.free;
        if let Some(entry) = self.entry(place) {
            entry.next = next;
            self.free = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Three queues behave like three `VecDeque`s, and need no more memory than the most events
        /// that they had at once.
        #[test]
        fn they_are_queues(steps in proptest::collection::vec((0..3_usize, 0..4_u8), 0..200)) {
            let mut queues = Queues::default();
            let (mut own, mut expected) = ([Queue::EMPTY; 3], [const { VecDeque::new() }; 3]);
            let (mut event, mut in_hand, mut most) = (0_u64, 0, 0);
            for (at, step) in steps {
                let (own, expected) = (&mut own[at], &mut expected[at]);
                let before = expected.len();
                match step {
                    0 | 1 => {
                        event += 1;
                        queues.push(own, event);
                        expected.push_back(event);
                    }
                    2 => prop_assert_eq!(queues.pop(own), expected.pop_front()),
                    _ => {
                        // An event in the middle, or one that is not there.
                        let gone = expected.get(expected.len() / 2).copied().unwrap_or(u64::MAX);
                        queues.remove(own, gone);
                        expected.retain(|event| *event != gone);
                    }
                }
                prop_assert_eq!(own.is_empty(), expected.is_empty());
                in_hand = in_hand + expected.len() - before;
                most = most.max(in_hand);
            }
            for (own, mut expected) in own.iter_mut().zip(expected) {
                while let Some(event) = queues.pop(own) {
                    prop_assert_eq!(Some(event), expected.pop_front());
                }
                prop_assert!(expected.is_empty());
                prop_assert_eq!(*own, Queue::EMPTY);
            }
            prop_assert_eq!(queues.entries.len(), most);
        }
    }
}
