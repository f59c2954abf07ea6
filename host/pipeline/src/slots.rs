//! The events in hand, each in a slot that says in which place it is.

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
    /// The number of its stage, counted from 0.
    pub(super) stage: u8,
    /// Its priority for dispatchers; the higher, the sooner.
    pub(super) priority: u8,
    /// The number of its failed attempts in its stage.
    pub(super) attempts: u16,
    /// The number of consumers that have it; more than one only in a broadcast.
    pub(super) copies: u16,
    /// Whether a consumer of a broadcast failed with it.
    pub(super) failed: bool,
    /// Whether a consumer of a broadcast has handled it.
    pub(super) handled: bool,
    pub(super) key: Option<KeyId>,
    /// The event behind it that waits for an earlier one of the same key.
    pub(super) next: Option<EventId>,
    pub(super) payload: Bytes,
    /// The time at which it was accepted, in nanoseconds of the pipeline's clock.
    pub(super) enqueued_ns: u64,
    /// The time at which it was enqueued, in milliseconds since the Unix epoch.
    pub(super) enqueued_unix_ms: u64,
    /// Its number in the storage, in the order in which events were accepted.
    pub(super) stored: u64,
    /// The fields that few events have.
    pub(super) extra: Option<Box<Extra>>,
}

/// The fields that few events have.
#[derive(Clone, Debug, Default)]
pub(super) struct Extra {
    /// The workers of a broadcast that select it, by bit; `None` for all.
    pub(super) selected: Option<u64>,
    /// The socket that waits for its answer.
    pub(super) reply_to: Option<Box<SocketRef>>,
}

/// The place of an event in the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// There is no event: the slot is free.
    Free,
    /// In the buffer; it has not been offered to the dispatcher.
    Fresh,
    /// In the buffer; it was offered to the dispatcher, which may assign it.
    Offered,
    /// In the buffer; it waits for an earlier event of its key to end.
    Blocked,
    /// In the buffer; it waits for its next attempt.
    Delayed,
    /// With a consumer, which has not started on it.
    Assigned,
    /// In a call of a worker.
    Running,
}

impl Place {
    /// Whether an event in this place waits for a consumer.
    pub(super) fn is_buffered(self) -> bool {
        matches!(self, Self::Fresh | Self::Offered | Self::Blocked | Self::Delayed)
    }
}

/// The number of places.
const PLACES: usize = 7;

/// All events in hand.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// The indexes of the free slots.
    free: Vec<u32>,
    /// The number of events in each place.
    counts: [usize; PLACES],
    /// The size of the payloads in bytes.
    bytes: usize,
}

impl Slots {
    /// Adds an event. Its `id` is made here.
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

    /// Moves an event to another place, if it is still in hand.
    pub(super) fn put(&mut self, id: EventId, place: Place) -> Option<&mut Slot> {
        let there = |slot: &&mut Slot| slot.id == id && slot.place != Place::Free;
        let slot = self.slots.get_mut(id.index()).filter(there)?;
        let before = std::mem::replace(&mut slot.place, place);
        // Not by `Self::count`, as the slot is borrowed.
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

    /// Removes an event. Returns its key and its last place.
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

    /// The number of events in a place.
    pub(super) fn at(&self, place: Place) -> usize {
        self.counts.get(place as usize).copied().unwrap_or_default()
    }

    /// The number of events that wait for a consumer.
    pub(super) fn buffered(&self) -> usize {
        self.at(Place::Fresh)
            + self.at(Place::Offered)
            + self.at(Place::Blocked)
            + self.at(Place::Delayed)
    }

    /// The number of events that consumers have.
    pub(super) fn in_flight(&self) -> usize {
        self.at(Place::Assigned) + self.at(Place::Running)
    }

    /// The size of all payloads in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The numbers of the events in the storage.
    pub(super) fn numbers(&self) -> Vec<u64> {
        let in_hand = self.slots.iter().filter(|slot| slot.place != Place::Free);
        in_hand.map(|slot| slot.stored).collect()
    }

    /// The events of a stage that are in a place, in the order in which they were enqueued.
    pub(super) fn in_order(&self, stage: u8, place: Place) -> Vec<EventId> {
        let there = |slot: &&Slot| slot.place == place && slot.stage == stage;
        let mut found: Vec<&Slot> = self.slots.iter().filter(there).collect();
        found.sort_by_key(|slot| slot.stored);
        found.into_iter().map(|slot| slot.id).collect()
    }

    /// The events that wait for a consumer, with their stages and places, in the order in which
    /// they were enqueued.
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
