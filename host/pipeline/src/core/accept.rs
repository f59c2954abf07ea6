//! Events that producers enqueue: they are accepted, dropped or refused.

use super::{Core, OnFull};
use crate::event::{DropReason, EventId, NewEvent, Now};
use crate::keys::KeyId;
use crate::slots::{Extra, Place, Slot};
use crate::storage::Leased;

/// The number of events whose keys are looked up side by side.
const HASHED: usize = 32;

/// An event that was not accepted; its producer keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) NewEvent);

impl Core {
    /// The hashes of the keys of the first [`HASHED`] events, for [`Core::accept`]; 0 for an
    /// event without a key. The keys are looked up side by side here, so that the processor's
    /// cache has them when their turns come: of many keys, most are in no near cache.
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

    /// Accepts an event, or, if there is no room, drops or refuses it as configured
    /// ([`OnFull`]). `hash` is the hash of its key. [`Core::dispatch_accepted`] is to be called
    /// after the last of some events.
    pub(crate) fn accept(&mut self, event: NewEvent, hash: u64, now: Now) -> Result<(), Refused> {
        if self.is_over_its_share(hash) {
            return self.refuse(event);
        }
        if self.is_full() {
            // An event that is larger than the bound is accepted if it is the only one.
            while self.config.on_full == OnFull::KeepLast && self.is_full() && self.evict_oldest() {
            }
            if self.is_full() {
                return self.refuse(event);
            }
        }
        self.store(event, hash, now)
    }

    /// Accepts an event for which there is room.
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

    /// Extends the storage's leases of the events in hand, and takes up events that nobody has
    /// in hand, as far as there is room.
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

    /// Counts events as rejected that were refused before [`Self::accept`].
    pub(crate) fn count_rejected(&mut self, events: usize) {
        self.totals.rejected += events as u64;
    }

    /// Dispatches in the first stage, after events were accepted.
    pub(crate) fn dispatch_accepted(&mut self, now: Now) {
        self.pump(0, now);
    }

    /// Whether as many events of a key wait as are allowed, with those for which room is
    /// reserved.
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

    /// Whether an event has to wait for an earlier one of its key. If not, the next one has to
    /// wait for it from now on.
    fn is_blocked(&mut self, key: Option<KeyId>) -> bool {
        let Some(key) = key.filter(|_| self.config.ordered) else { return false };
        std::mem::replace(&mut self.keys.get_mut(key).busy, true)
    }

    /// Puts an event at the end of those of its key that wait for an earlier one.
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

    /// Takes out the first of the events of a key that wait for an earlier one; `None` when none
    /// waits. The next event of the key then waits for nobody.
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

    /// Adds an event to the order in which [`Self::evict_oldest`] finds the oldest. Events that
    /// have gone are cleared out before they are more than those that wait.
    fn remember_order(&mut self, id: EventId) {
        self.order.push_back(id);
        if self.order.len() > 2 * (self.slots.buffered() + 64) {
            let slots = &self.slots;
            self.order.retain(|id| slots.get(*id).is_some_and(|slot| slot.place.is_buffered()));
        }
    }

    /// Drops the event that waits longest; false when none waits.
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

    /// Takes a waiting event out of the queues of its place.
    pub(super) fn withdraw(&mut self, id: EventId, stage: usize, place: Place) {
        let key = self.slots.get(id).and_then(|slot| slot.key);
        let hash = key.map_or(0, |key| self.keys.get(key).hash);
        let Some(stage) = self.stages.get_mut(stage) else { return };
        match place {
            Place::Fresh if stage.fresh.front() == Some(&id) => {
                stage.fresh.pop_front();
            }
            // These queues pass over events that have gone.
            Place::Fresh | Place::Delayed => {}
            Place::Offered => {
                stage.offered -= 1;
                stage.offer.withdrawn.push(id);
                if stage.dispatcher.columns().keys {
                    stage.offer.withdrawn_keys.push(hash);
                }
            }
            // The oldest is withdrawn first, so this event is the first of its key's queue.
            Place::Blocked => {
                if let Some(key) = key {
                    self.unblock(key);
                }
            }
            Place::Assigned | Place::Running | Place::Free => {}
        }
    }
}
