//! Events that come.

use super::{Core, OnFull};
use crate::event::{DropReason, EventId, NewEvent, Now};
use crate::keys::KeyId;
use crate::slots::{Extra, Place, Slot};
use crate::storage::Leased;

/// Events whose keys are looked up side by side.
const HASHED: usize = 32;

/// There is no room for an event, and whoever made it keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) NewEvent);

impl Core {
    /// The hashes of the keys of the first few events, 0 for none, for
    /// [`Core::accept`]. Looks the keys up side by side, so that none of them has to
    /// be waited for when its turn comes: of many keys, most are in no near cache.
    pub(crate) fn hash_keys(&self, events: &[NewEvent]) -> [u64; HASHED] {
        let mut hashes = [0; HASHED];
        for (hash, event) in hashes.iter_mut().zip(events) {
            *hash = self.hash_key(event);
        }
        for hash in hashes.iter().filter(|hash| **hash != 0) {
            std::hint::black_box(self.keys.find(*hash).is_some());
        }
        hashes
    }

    fn hash_key(&self, event: &NewEvent) -> u64 {
        event.key.as_ref().map_or(0, |key| self.keys.hash(key))
    }

    /// Takes an event, or has it dropped, or refuses it, as configured; `hash` is
    /// that of its key. After some of them, [`Core::pump`] sends them on.
    pub(crate) fn accept(&mut self, event: NewEvent, hash: u64, now: Now) -> Result<(), Refused> {
        if self.is_over_its_share(hash) {
            return self.refuse(event);
        }
        if self.is_full() {
            // One that is larger than the bound has the buffer to itself.
            while self.config.on_full == OnFull::KeepLast && self.is_full() && self.evict_oldest() {
            }
            if self.is_full() {
                return self.refuse(event);
            }
        }
        self.store(event, hash, now)
    }

    /// Takes an event for which there is room.
    pub(super) fn store(&mut self, event: NewEvent, hash: u64, now: Now) -> Result<(), Refused> {
        match self.storage.append(&event, now) {
            Ok(number) => {
                self.last_stored = number;
                self.insert(event, hash, number, now);
                Ok(())
            }
            Err(error) => {
                tracing::error!("{error}");
                self.totals.rejected += 1;
                Err(Refused(event))
            }
        }
    }

    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn accept_one(&mut self, event: NewEvent, now: Now) -> Result<(), Refused> {
        let hash = self.hash_key(&event);
        self.accept(event, hash, now)
    }

    /// Keeps the leases of what is in hand, and takes up what nobody has, as far as
    /// there is room.
    pub(crate) fn renew_leases(&mut self, now: Now) {
        self.storage.extend(&self.slots.numbers(), now);
        while !self.is_full() {
            let leased = self.storage.lease(self.room(), now);
            if leased.is_empty() {
                break;
            }
            for Leased { number, event } in leased {
                let hash = self.hash_key(&event);
                self.insert(event, hash, number, now);
            }
        }
        self.dispatch_accepted(now);
    }

    /// Counts events that were refused without a look at the buffer.
    pub(crate) fn count_rejected(&mut self, events: usize) {
        self.totals.rejected += events as u64;
    }

    /// Sends on what was accepted.
    pub(crate) fn dispatch_accepted(&mut self, now: Now) {
        self.pump(0, now);
    }

    /// Whether a key has as many events waiting as it may.
    pub(super) fn is_over_its_share(&self, hash: u64) -> bool {
        if self.config.max_per_key == 0 || hash == 0 {
            return false;
        }
        let waiting = self.keys.find(hash).map_or(0, |key| key.waiting as usize);
        waiting + self.reserved_of(hash) >= self.config.max_per_key
    }

    fn refuse(&mut self, event: NewEvent) -> Result<(), Refused> {
        match self.config.on_full {
            OnFull::Reject | OnFull::Wait => {
                self.totals.rejected += 1;
                Err(Refused(event))
            }
            OnFull::KeepFirst | OnFull::KeepLast => {
                self.totals.accepted += 1;
                self.totals.drop_one(DropReason::Newest);
                self.dead_letter_new(event, DropReason::Newest);
                Ok(())
            }
        }
    }

    #[inline]
    fn insert(&mut self, event: NewEvent, hash: u64, stored: u64, now: Now) {
        self.totals.accepted += 1;
        let NewEvent { payload, key, priority, selected, reply_to, enqueued_unix_ms } = event;
        let key = key.map(|text| self.keys.hold(text, hash));
        let extra = (selected.is_some() || reply_to.is_some())
            .then(|| Box::new(Extra { selected, reply_to }));
        let blocked = self.is_blocked(key);
        let id = self.slots.insert(Slot {
            id: EventId::NONE,
            place: if blocked { Place::Blocked } else { Place::Fresh },
            stage: 0,
            priority,
            attempts: 0,
            copies: 1,
            failed: false,
            handled: false,
            key,
            next: None,
            payload,
            enqueued_ns: now.0,
            enqueued_unix_ms,
            stored,
            extra,
        });
        if let Some(key) = key {
            self.keys.get_mut(key).waiting += 1;
        }
        match key.filter(|_| blocked) {
            Some(key) => self.block(key, id),
            None => {
                if let Some(first) = self.stages.first_mut() {
                    first.fresh.push_back(id);
                }
            }
        }
        if self.config.on_full == OnFull::KeepLast {
            self.remember_order(id);
        }
    }

    /// Whether an event has to wait for an earlier one of its key; if not, the
    /// next one has to wait for it.
    fn is_blocked(&mut self, key: Option<KeyId>) -> bool {
        let Some(key) = key.filter(|_| self.config.ordered) else { return false };
        std::mem::replace(&mut self.keys.get_mut(key).busy, true)
    }

    fn block(&mut self, key: KeyId, id: EventId) {
        let key = self.keys.get_mut(key);
        match &mut key.blocked {
            Some((_, last)) => {
                if let Some(slot) = self.slots.get_mut(*last) {
                    slot.next = Some(id);
                }
                *last = id;
            }
            none => *none = Some((id, id)),
        }
    }

    /// The first of those that wait for another of their key is free to go.
    pub(super) fn unblock(&mut self, key: KeyId) -> Option<EventId> {
        let keyed = self.keys.get_mut(key);
        let Some((first, last)) = keyed.blocked else {
            keyed.busy = false;
            return None;
        };
        let next = self.slots.get_mut(first).and_then(|slot| slot.next.take());
        keyed.blocked = next.map(|next| (next, last));
        Some(first)
    }

    /// The order is needed to find the oldest; those that have gone are cleared
    /// out before they are more than those that wait.
    fn remember_order(&mut self, id: EventId) {
        self.order.push_back(id);
        if self.order.len() > 2 * (self.slots.buffered() + 64) {
            let slots = &self.slots;
            self.order.retain(|id| slots.get(*id).is_some_and(|slot| slot.place.is_buffered()));
        }
    }

    /// Drops the event that has waited longest; false when none waits.
    fn evict_oldest(&mut self) -> bool {
        while let Some(id) = self.order.pop_front() {
            let Some(slot) = self.slots.get(id).filter(|slot| slot.place.is_buffered()) else {
                continue;
            };
            self.withdraw(id, usize::from(slot.stage), slot.place);
            self.drop_event(id, DropReason::Oldest);
            return true;
        }
        false
    }

    /// Takes an event out of wherever it waits.
    pub(super) fn withdraw(&mut self, id: EventId, stage: usize, place: Place) {
        let key = self.slots.get(id).and_then(|slot| slot.key);
        let hash = key.map_or(0, |key| self.keys.get(key).hash);
        let Some(stage) = self.stages.get_mut(stage) else { return };
        match place {
            Place::Fresh if stage.fresh.front() == Some(&id) => {
                stage.fresh.pop_front();
            }
            // Passed over when its turn comes.
            Place::Fresh | Place::Delayed => {}
            Place::Offered => {
                stage.offered -= 1;
                stage.offer.withdrawn.push(id);
                if stage.dispatcher.columns().keys {
                    stage.offer.withdrawn_keys.push(hash);
                }
            }
            // All before it have gone, or would have been evicted first.
            Place::Blocked => {
                if let Some(key) = key {
                    self.unblock(key);
                }
            }
            Place::Assigned | Place::Running | Place::Free => {}
        }
    }
}
