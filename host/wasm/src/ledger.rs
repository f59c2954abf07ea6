//! The progress of a batch: which messages are to come, which are over, and whether the next one is
//! handled.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use millrace_session::channel::Outcome;

use super::host::Current;
use super::instance::SLICE_FUEL;
use super::owner::CallOwner;

/// The fuel that a thread may use up for plugins before other tasks that are ready have their turn:
/// some 200 microseconds.
pub const TURN_FUEL: u64 = 4 * SLICE_FUEL;

/// The progress of one batch, shared by its call and whoever waits for it.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Entries>);

/// What is changed under the lock.
#[derive(Default)]
pub(super) struct Entries {
    /// Messages that were not begun, in order.
    pub(super) upcoming: VecDeque<Upcoming>,
    /// Messages that were handled and not yet taken, in order.
    pub(super) reported: Vec<Reported>,
    /// The number of messages that were handled.
    pub(super) messages: u64,
    /// The owner of the message that is being handled.
    owner: CallOwner,
    /// Whether one of the handled messages was of an owner that has caused no fault.
    has_blameless: bool,
    /// The fuel that all handled messages have used.
    pub(super) fuel: u64,
    /// The fuel that the connection of the current message has used in its turn.
    used: u64,
    /// Whether a message is being handled.
    pub(super) is_in_hand: bool,
    /// Whether a message has flushed effects, which cannot be done twice.
    pub(super) has_flushed: bool,
}

/// A message that has not been begun.
pub(super) struct Upcoming {
    pub(super) current: Current,
    pub(super) fuel: u64,
    /// The fuel that its connection has used in its turn.
    pub(super) used: u64,
}

/// What the guest reported for one message.
pub(super) struct Reported {
    pub(super) outcome: Outcome,
    pub(super) fuel: u64,
    pub(super) memory_bytes: usize,
    /// The time of the report, if calls are measured.
    pub(super) at: Option<Instant>,
}

impl Entries {
    /// Notes that the current message was handled, and the fuel it used.
    pub(super) fn use_up(&mut self, fuel: u64) {
        self.is_in_hand = false;
        self.has_blameless |= !self.owner.has_faulted;
        self.fuel = self.fuel.saturating_add(fuel);
        self.used = self.used.saturating_add(fuel);
    }

    /// Begins the message after one of `connection`; `None` if there is none, or a turn is over:
    /// that of the connection after [`SLICE_FUEL`], that of the batch after [`TURN_FUEL`].
    pub(super) fn go_on(&mut self, connection: u64) -> Option<Upcoming> {
        let next = self.upcoming.front()?;
        let is_over = if next.current.caller.context.connection == connection {
            self.used >= SLICE_FUEL
        } else {
            self.used = next.used;
            self.fuel >= TURN_FUEL
        };
        if is_over { None } else { self.begin_next() }
    }

    /// Begins the first message.
    pub(super) fn begin(&mut self) -> Option<Upcoming> {
        self.used = self.upcoming.front()?.used;
        self.begin_next()
    }

    fn begin_next(&mut self) -> Option<Upcoming> {
        let next = self.upcoming.pop_front()?;
        self.is_in_hand = true;
        let Current { caller, progress, .. } = &next.current;
        // Mostly it is of the same connection.
        if self.owner.number != caller.context.connection {
            self.owner = CallOwner::connection(caller, &**progress);
        }
        Some(next)
    }
}

impl Ledger {
    /// Notes that the current message has flushed effects.
    pub(super) fn flushed(&self) {
        self.entries().has_flushed = true;
    }

    /// The number of messages that went well, whether one of them was of an owner that has caused
    /// no fault, and the owner of the message after them.
    pub(super) fn went_well(&self) -> (u64, bool, CallOwner) {
        let entries = self.entries();
        (entries.messages, entries.has_blameless, entries.owner)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
