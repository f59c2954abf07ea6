//! Dead letters: events that were given up, for an operator to look at, replay or purge.

use std::collections::VecDeque;

use serde::Serialize;

use super::core::Dead;
use super::event::NewEvent;

/// The newest events that were given up, in the order in which that happened.
#[derive(Debug)]
pub struct DeadLetters {
    letters: VecDeque<DeadLetter>,
    /// The number of dead letters at most. At the limit the oldest is discarded.
    size: usize,
    /// The number of the next dead letter.
    next: u64,
    /// The number of dead letters that were discarded since the start.
    discarded: u64,
}

/// An event that was given up, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number, counted from 1 in the order in which events were given up.
    number: u64,
    dead: Dead,
}

/// A dead letter as the admin API shows it.
#[derive(Debug, Serialize)]
pub struct DeadLetterView<'a> {
    number: u64,
    /// The reason of the worker or the pipeline.
    pub reason: &'a str,
    attempts: u16,
    stage: usize,
    key: Option<&'a str>,
    /// The time at which it was enqueued, in milliseconds since the Unix epoch.
    enqueued_ms: u64,
    /// The payload as text. Bytes that are not UTF-8 are replaced by U+FFFD.
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

    /// The number of dead letters, and the number that were discarded since the start.
    pub fn counts(&self) -> (usize, u64) {
        (self.letters.len(), self.discarded)
    }

    /// The oldest dead letters whose number is at least `from`, at most `max`.
    pub fn list(&self, from: u64, max: usize) -> Vec<DeadLetterView<'_>> {
        let wanted = self.letters.iter().filter(|letter| letter.number >= from).take(max);
        wanted.map(DeadLetter::view).collect()
    }

    /// Takes out the dead letters with these numbers, or all. Numbers that are not there are
    /// ignored.
    pub fn take(&mut self, numbers: Option<&[u64]>) -> Vec<DeadLetter> {
        let wanted = |letter: &DeadLetter| numbers.is_none_or(|n| n.contains(&letter.number));
        let letters = std::mem::take(&mut self.letters);
        let (taken, kept): (Vec<_>, Vec<_>) = letters.into_iter().partition(wanted);
        self.letters = kept.into();
        taken
    }

    /// Puts dead letters back, in the order of their numbers. They may be more than the limit
    /// until the next event is given up.
    pub(super) fn put_back(&mut self, letters: Vec<DeadLetter>) {
        for letter in letters.into_iter().rev() {
            self.letters.push_front(letter);
        }
        self.letters.make_contiguous().sort_by_key(|letter| letter.number);
    }
}

impl DeadLetter {
    /// A new event for the first stage, with the payload that it had when it was given up and the
    /// time at which it was enqueued first. Nobody waits for its answer.
    pub(super) fn event(&self) -> NewEvent {
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
