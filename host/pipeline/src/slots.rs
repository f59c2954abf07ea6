//! The events in hand, and where each of them is.

use std::num::NonZeroU32;

use bytes::Bytes;
use millrace_session::channel::SocketRef;

use super::event::EventId;
use super::keys::KeyId;

/// An event in hand.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: EventId,
    pub(super) place: Place,
    pub(super) stage: u8,
    pub(super) priority: u8,
    /// How often it was tried in its stage and came to nothing.
    pub(super) attempts: u16,
    /// Consumers that have it: more than one of a broadcast.
    pub(super) copies: u16,
    /// Whether a consumer of a broadcast failed with it.
    pub(super) failed: bool,
    /// Whether one has handled it.
    pub(super) handled: bool,
    pub(super) key: Option<KeyId>,
    /// The next that waits for an earlier one of the same key.
    pub(super) next: Option<EventId>,
    pub(super) payload: Bytes,
    pub(super) enqueued_ns: u64,
    pub(super) enqueued_unix_ms: u64,
    /// What its storage knows it by.
    pub(super) stored: u64,
    /// What few events have.
    pub(super) extra: Option<Box<Extra>>,
}

/// What few events have.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    /// The workers of a broadcast that want it, by bit; `None` for all.
    pub(super) selected: Option<u64>,
    /// Who waits for an answer.
    pub(super) reply_to: Option<Box<SocketRef>>,
}

/// Where an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: its slot is free.
    Free,
    /// In the buffer; the dispatcher has not been told of it.
    Fresh,
    /// In the buffer; the dispatcher may assign it.
    Offered,
    /// In the buffer, behind an earlier event of its key.
    Blocked,
    /// In the buffer, until it is tried again.
    Delayed,
    /// Assigned to a consumer, which has not started on it.
    Assigned,
    /// A worker has it.
    Running,
}

impl Place {
    /// Whether an event there waits for a consumer.
    pub(super) fn is_buffered(self) -> bool {
        matches!(self, Self::Fresh | Self::Offered | Self::Blocked | Self::Delayed)
    }
}

/// Places there are.
const PLACES: usize = 7;

/// All events in hand.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
    counts: [usize; PLACES],
    /// Of the payloads.
    bytes: usize,
}

impl Slots {
    /// Takes an event in hand. Its `id` is made here.
    #[inline]
    pub(super) fn insert(&mut self, mut slot: Slot) -> EventId {
        self.bytes += slot.payload.len();
        self.count(slot.place, 1);
        if let Some(index) = self.free.pop()
            && let Some(old) = self.slots.get_mut(index as usize)
        {
            // The generation was raised when it became free.
            slot.id = old.id;
            let id = slot.id;
            *old = slot;
            return id;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        slot.id = EventId::new(index, NonZeroU32::MIN);
        let id = slot.id;
        self.slots.push(slot);
        id
    }

    /// The event, if it is still in hand.
    pub(super) fn get(&self, id: EventId) -> Option<&Slot> {
        self.slots.get(id.index()).filter(|slot| slot.id == id && slot.place != Place::Free)
    }

    /// The event, to change anything but its place and its payload.
    pub(super) fn get_mut(&mut self, id: EventId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index()).filter(|slot| slot.id == id && slot.place != Place::Free)
    }

    /// Puts an event elsewhere; what it is now, if it is still in hand.
    pub(super) fn put(&mut self, id: EventId, place: Place) -> Option<&mut Slot> {
        let there = |slot: &&mut Slot| slot.id == id && slot.place != Place::Free;
        let slot = self.slots.get_mut(id.index()).filter(there)?;
        let before = std::mem::replace(&mut slot.place, place);
        // Field by field: the slot is borrowed.
        for (place, change) in [(before, -1), (place, 1)] {
            if let Some(count) = self.counts.get_mut(place as usize) {
                *count = count.saturating_add_signed(change);
            }
        }
        Some(slot)
    }

    /// Gives the event another payload.
    pub(super) fn replace_payload(&mut self, id: EventId, payload: Bytes) {
        let Some(slot) = self.slots.get_mut(id.index()).filter(|slot| slot.id == id) else {
            return;
        };
        self.bytes = self.bytes + payload.len() - slot.payload.len();
        slot.payload = payload;
    }

    /// Lets an event go; the key it had, and where it was.
    pub(super) fn remove(&mut self, id: EventId) -> Option<(Option<KeyId>, Place)> {
        let slot = self.slots.get_mut(id.index()).filter(|slot| slot.id == id)?;
        let place = std::mem::replace(&mut slot.place, Place::Free);
        slot.extra = None;
        slot.id = id.successor();
        self.free.push(u32::try_from(id.index()).unwrap_or(u32::MAX));
        self.bytes -= std::mem::take(&mut slot.payload).len();
        let key = slot.key;
        self.count(place, -1);
        Some((key, place))
    }

    /// How many are there.
    pub(super) fn at(&self, place: Place) -> usize {
        self.counts.get(place as usize).copied().unwrap_or_default()
    }

    /// Those that wait for a consumer.
    pub(super) fn buffered(&self) -> usize {
        self.at(Place::Fresh)
            + self.at(Place::Offered)
            + self.at(Place::Blocked)
            + self.at(Place::Delayed)
    }

    /// Those a consumer has.
    pub(super) fn in_flight(&self) -> usize {
        self.at(Place::Assigned) + self.at(Place::Running)
    }

    /// Of all payloads.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What their storage knows them by.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let in_hand = self.slots.iter().filter(|slot| slot.place != Place::Free);
        in_hand.map(|slot| slot.stored).collect()
    }

    /// Those of a stage that are at a place, in the order of their coming.
    pub(super) fn in_order(&self, stage: u8, place: Place) -> Vec<EventId> {
        let there = |slot: &&Slot| slot.place == place && slot.stage == stage;
        let mut found: Vec<&Slot> = self.slots.iter().filter(there).collect();
        found.sort_by_key(|slot| slot.stored);
        found.into_iter().map(|slot| slot.id).collect()
    }

    /// All that wait, with their stages and places, in the order of their coming.
    pub(super) fn waiting(&self) -> Vec<(EventId, usize, Place)> {
        let mut found: Vec<&Slot> = self.slots.iter().filter(|s| s.place.is_buffered()).collect();
        found.sort_by_key(|slot| slot.stored);
        found.into_iter().map(|slot| (slot.id, usize::from(slot.stage), slot.place)).collect()
    }

    fn count(&mut self, place: Place, change: isize) {
        if let Some(count) = self.counts.get_mut(place as usize) {
            *count = count.saturating_add_signed(change);
        }
    }
}
