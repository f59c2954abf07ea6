//! What one call has of its plugin's room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::line::{Kind, Place};
use super::party::Party;
use super::room::{Hold, Room};

/// A call, as the others see it: it waits, then it has an instance, and if it is not
/// over at once, it holds that until this is dropped.
pub(super) struct Stake<'a> {
    room: &'a Arc<Room>,
    pub(super) party: Party,
    kind: Kind,
    /// The number of the instance in which it has begun, if it has.
    instance: AtomicU64,
    /// When it began, if it had to wait before.
    late: OnceLock<Instant>,
    hold: Mutex<Option<Hold>>,
}

/// It has a seat, and is in no instance yet.
const SEATED: u64 = u64::MAX;

impl<'a> Stake<'a> {
    pub(super) fn new(room: &'a Arc<Room>, party: Party, kind: Kind) -> Self {
        let (instance, late, hold) = (AtomicU64::new(0), OnceLock::new(), Mutex::new(None));
        Self { room, party, kind, instance, late, hold }
    }

    pub(super) fn place(&self) -> Place {
        Place { party: self.party.number, kind: self.kind }
    }

    /// A task holds its instance from the start.
    pub(super) fn is_task(&self) -> bool {
        self.kind == Kind::Task
    }

    pub(super) fn has_hold(&self) -> bool {
        self.hold().is_some()
    }

    /// It has to wait for an instance after all.
    pub(super) fn lets_go(&self) {
        let hold = self.hold().take();
        drop(hold);
    }

    /// It has a seat for an instance.
    pub(super) fn seated(&self) {
        self.instance.store(SEATED, Ordering::Relaxed);
    }

    /// It begins in the instance of this number.
    pub(super) fn begins(&self, instance: u64) {
        self.instance.store(instance, Ordering::Relaxed);
    }

    /// The same of one that has waited.
    pub(super) fn begins_late(&self, instance: u64) {
        self.begins(instance);
        // A call begins once.
        let _ = self.late.set(Instant::now());
    }

    /// Whether most of a time that is over went by before it began, or it still waits.
    pub(super) fn has_waited_most_of(&self, time: Duration) -> bool {
        self.waits() || self.late.get().is_some_and(|began| began.elapsed() < time / 2)
    }

    /// What it was granted with its instance.
    pub(super) fn holds(&self, hold: Hold) {
        *self.hold() = Some(hold);
    }

    /// It is not over at once: from now on it holds its instance, if it has one.
    pub(super) fn goes_on(&self) {
        if self.instance.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut hold = self.hold();
        if hold.is_none() {
            *hold = Some(self.room.hold(self.place()));
        }
    }

    /// Whether it waits for an instance, or for memory.
    pub(super) fn waits(&self) -> bool {
        match self.instance.load(Ordering::Relaxed) {
            0 | SEATED => true,
            instance => self.room.memory.is_awaited_by(instance),
        }
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
