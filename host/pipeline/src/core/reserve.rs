//! Room that is kept for events of a request, all of which are taken or none.

use std::collections::HashMap;

use super::Core;
use super::accept::Refused;
use crate::event::{NewEvent, Now};

/// Room that is kept for events which are about to come.
#[derive(Debug, Default)]
pub(crate) struct Reserve {
    pub(super) events: usize,
    /// Of their payloads.
    pub(super) bytes: usize,
    /// Events of each key, by its hash, where a key has a bound.
    keys: HashMap<u64, usize>,
}

/// There is no room for an event now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// In the buffer.
    Buffer,
    /// For its key.
    Key,
}

impl Core {
    /// Keeps room for an event of so many bytes; `hash` is that of its key.
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

    /// Gives room back that was kept for an event.
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

    /// Takes an event into the room that is kept for it; refused only by the storage.
    pub(crate) fn accept_reserved(
        &mut self,
        event: NewEvent,
        hash: u64,
        now: Now,
    ) -> Result<(), Refused> {
        self.release_room(hash, event.payload.len());
        self.store(event, hash, now)
    }

    /// How many events of a key are about to come.
    pub(super) fn reserved_of(&self, hash: u64) -> usize {
        self.reserve.keys.get(&hash).copied().unwrap_or_default()
    }
}
