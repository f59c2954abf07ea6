//! Events that were given up, for an operator to look at, replay or purge.

use std::collections::VecDeque;

use serde::Serialize;

use super::core::Dead;
use super::event::NewEvent;

/// The last events that were given up.
#[derive(Debug)]
pub struct DeadLetters {
    letters: VecDeque<DeadLetter>,
    /// Kept at most; the oldest gives way.
    size: usize,
    next: u64,
    /// That gave way, since the start.
    discarded: u64,
}

/// An event that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Counted from 1, in the order in which they were given up.
    pub number: u64,
    dead: Dead,
}

/// The same, for people to read.
#[derive(Debug, Serialize)]
pub struct DeadLetterView<'a> {
    number: u64,
    pub reason: &'a str,
    attempts: u16,
    stage: usize,
    key: Option<&'a str>,
    enqueued_ms: u64,
    /// As text; what is no UTF-8 is replaced by U+FFFD.
    pub payload: std::borrow::Cow<'a, str>,
}

impl DeadLetters {
    pub(super) fn new(size: usize) -> Self {
        Self { letters: VecDeque::new(), size, next: 1, discarded: 0 }
    }

    pub(super) fn push(&mut self, dead: Dead) {
        self.letters.push_back(DeadLetter { number: self.next, dead });
        self.next += 1;
        while self.letters.len() > self.size {
            self.letters.pop_front();
            self.discarded += 1;
        }
    }

    /// How many there are, and how many gave way.
    pub fn counts(&self) -> (usize, u64) {
        (self.letters.len(), self.discarded)
    }

    /// The oldest ones from a number on.
    pub fn list(&self, from: u64, max: usize) -> Vec<DeadLetterView<'_>> {
        let wanted = self.letters.iter().filter(|letter| letter.number >= from).take(max);
        wanted.map(DeadLetter::view).collect()
    }

    /// Takes out those with these numbers, or all.
    pub fn take(&mut self, numbers: Option<&[u64]>) -> Vec<DeadLetter> {
        let wanted = |letter: &DeadLetter| numbers.is_none_or(|n| n.contains(&letter.number));
        let letters = std::mem::take(&mut self.letters);
        let (taken, kept): (Vec<_>, Vec<_>) = letters.into_iter().partition(wanted);
        self.letters = kept.into();
        taken
    }

    /// Puts back what could not be replayed.
    pub fn put_back(&mut self, letters: Vec<DeadLetter>) {
        for letter in letters.into_iter().rev() {
            self.letters.push_front(letter);
        }
        self.letters.make_contiguous().sort_by_key(|letter| letter.number);
    }
}

impl DeadLetter {
    /// The event, to be handled from the first stage on.
    pub fn event(&self) -> NewEvent {
        let Dead { payload, key, priority, enqueued_unix_ms, .. } = self.dead.clone();
        NewEvent { payload, key, priority, enqueued_unix_ms, ..NewEvent::default() }
    }

    fn view(&self) -> DeadLetterView<'_> {
        let Dead { payload, key, enqueued_unix_ms, stage, attempts, reason, .. } = &self.dead;
        DeadLetterView {
            number: self.number,
            reason,
            attempts: *attempts,
            stage: *stage,
            key: key.as_deref(),
            enqueued_ms: *enqueued_unix_ms,
            payload: String::from_utf8_lossy(payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(reason: &str) -> Dead {
        Dead {
            payload: "{}".into(),
            key: None,
            priority: 0,
            enqueued_unix_ms: 0,
            stage: 0,
            attempts: 3,
            reason: reason.to_owned(),
        }
    }

    #[test]
    fn the_oldest_gives_way_and_what_is_put_back_keeps_its_place() {
        let mut letters = DeadLetters::new(3);
        for reason in ["a", "b", "c", "d"] {
            letters.push(dead(reason));
        }
        assert_eq!(letters.counts(), (3, 1));
        let numbers = |letters: &DeadLetters| -> Vec<u64> {
            letters.list(0, 10).iter().map(|letter| letter.number).collect()
        };
        assert_eq!(numbers(&letters), [2, 3, 4]);
        let taken = letters.take(Some(&[3, 9]));
        assert_eq!(taken.len(), 1);
        assert_eq!(numbers(&letters), [2, 4]);
        letters.put_back(taken);
        assert_eq!(numbers(&letters), [2, 3, 4]);
        assert_eq!(letters.list(3, 1)[0].reason, "c");
        assert_eq!(letters.take(None).len(), 3);
    }
}
