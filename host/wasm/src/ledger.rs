//! How far a batch has got, and whether it goes on.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use millrace_session::channel::Outcome;

use super::host::Current;
use super::instance::SLICE_FUEL;
use super::owner::CallOwner;

/// Fuel that a thread may use up for plugins before it looks for what else is ready:
/// some 200 microseconds.
pub const TURN_FUEL: u64 = 4 * SLICE_FUEL;

/// Where the batch that is handled stands: shared by its call and who waits for it.
#[derive(Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Default)]
pub(super) struct Entries {
    pub(super) upcoming: VecDeque<Upcoming>,
    pub(super) reported: Vec<Reported>,
    /// How many there were in all.
    pub(super) messages: u64,
    /// Whose message is being handled.
    owner: CallOwner,
    /// Whether one that was reported was of a connection that has made no fault.
    has_blameless: bool,
    /// Fuel of all of them.
    pub(super) fuel: u64,
    /// Fuel of the connection whose message is handled, since its turn began.
    used: u64,
    /// A message is being handled.
    pub(super) is_in_hand: bool,
    /// A message did something that cannot be done twice.
    pub(super) has_flushed: bool,
}

/// A message that has not been begun.
pub(super) struct Upcoming {
    pub(super) current: Current,
    pub(super) fuel: u64,
    /// Of its connection.
    pub(super) used: u64,
}

/// What the guest said of a message.
pub(super) struct Reported {
    pub(super) outcome: Outcome,
    pub(super) fuel: u64,
    pub(super) memory_bytes: usize,
    pub(super) at: Option<Instant>,
}

impl Entries {
    /// A message was handled, and has used so much.
    pub(super) fn use_up(&mut self, fuel: u64) {
        self.is_in_hand = false;
        self.has_blameless |= !self.owner.has_faulted;
        self.fuel = self.fuel.saturating_add(fuel);
        self.used = self.used.saturating_add(fuel);
    }

    /// The message after one of `connection`, unless it is another's turn.
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

    /// The first message.
    pub(super) fn begin(&mut self) -> Option<Upcoming> {
        self.used = self.upcoming.front()?.used;
        self.begin_next()
    }

    fn begin_next(&mut self) -> Option<Upcoming> {
        let next = self.upcoming.pop_front()?;
        self.is_in_hand = true;
        let Current { caller, progress, .. } = &next.current;
        // Mostly it is the same connection's.
        if self.owner.number != caller.context.connection {
            self.owner = CallOwner::connection(caller, &**progress);
        }
        Some(next)
    }
}

impl Ledger {
    /// Whoever is called for a message did something at once.
    pub(super) fn flushed(&self) {
        self.entries().has_flushed = true;
    }

    /// How many messages went well, whether one was of a connection that has made no
    /// fault, and whose is the one after them.
    pub(super) fn went_well(&self) -> (u64, bool, CallOwner) {
        let entries = self.entries();
        (entries.messages, entries.has_blameless, entries.owner)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
