//! Room that is reserved for the events of a request, all of which are accepted or none.

use std::collections::HashMap;

use super::Core;
use super::accept::Refused;
use crate::event::{NewEvent, Now};

/// The room that is reserved for events that are about to come.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    /// The number of those events.
    pub(super) events: usize,
    /// The size of their payloads in bytes.
    pub(super) bytes: usize,
    /// The number of those events of each key, by its hash; empty without `max_per_key`.
    keys: HashMap<u64, usize>,
}

/// The bound at which there is no room for an event now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// The buffer is full.
    Buffer,
    /// As many events of its key wait as are allowed.
    Key,
}

impl Core {
    /// Reserves room for an event with a payload of `bytes` bytes; `hash` is the hash of its
    /// key.
    pub(crate) fn reserve(&mut self, hash: u64, bytes: usize) -> Result<(), NoRoom> {
        if self.is_over_its_share(hash) {
            return Err(NoRoom::Key);
        }
        if self.is_full() {
            return Err(NoRoom::Buffer);
        }
        self.reserve.events += 1;
        self.reserve.bytes += bytes;
        if self.config.max_per_key > 0 && hash != 0 {
            *self.reserve.keys.entry(hash).or_default() += 1;
        }
        Ok(())
    }

    /// Gives room back that was reserved for an event.
    pub(crate) fn release_room(&mut self, hash: u64, bytes: usize) {
        self.reserve.events = self.reserve.events.saturating_sub(1);
        self.reserve.bytes = self.reserve.bytes.saturating_sub(bytes);
        if let Some(events) = self.reserve.keys.get_mut(&hash) {
            *events -= 1;
            if *events == 0 {
                self.reserve.keys.remove(&hash);
            }
        }
    }

    /// Accepts an event for which room is reserved. Only the storage can refuse it.
    pub(crate) fn accept_reserved(
        &mut self,
        event: NewEvent,
        hash: u64,
        now: Now,
    ) -> Result<(), Refused> {
        self.release_room(hash, event.payload.len());
        self.store(event, hash, now)
    }

    /// The number of events of a key for which room is reserved.
    pub(super) fn reserved_of(&self, hash: u64) -> usize {
        self.reserve.keys.get(&hash).copied().unwrap_or_default()
    }
}
