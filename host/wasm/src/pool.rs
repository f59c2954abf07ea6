//! Instances of one component that wait for a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millrace_telemetry::WasmMeters;
use serde::Serialize;

use super::instance::Instance;
use super::line::{Kind, Place};
use super::party::Party;
use super::room::{Granted, Hold, Room, Seat};
use super::shelf::{Shelf, Taken};
use super::stake::Stake;
use super::{Breaker, Component, Fault, FaultKind};

/// Hands out instances, makes new ones when none is free, and lets calls wait
/// when there may be no more.
pub struct Pool {
    component: Component,
    idle: Arc<Shelf>,
    room: Arc<Room>,
    breaker: Breaker,
    pub(super) meters: WasmMeters,
    /// Another version is live: what is returned is not kept.
    retired: AtomicBool,
    /// Calls that came to nothing through the plugin's doing.
    faults: AtomicU64,
    /// Calls that answered with an error, which is no fault.
    errors: AtomicU64,
}

/// How the calls of a version went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// That went well.
    pub succeeded: u64,
    /// That did not, through the plugin's doing.
    pub faults: u64,
    /// Of those that went well: that answered their client with an error.
    pub errors: u64,
}

/// Instances that a version keeps that may be live again: for the first calls
/// then.
const KEPT_AT_REST: usize = 2;

/// How the instances of a plugin stand.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Instances {
    /// Those of its other versions too, which finish their calls.
    live: usize,
    /// Of this version.
    idle: usize,
    /// Calls that wait for one.
    waiting: usize,
    max: u32,
}

impl Pool {
    /// A pool of at most `limits.max_instances`.
    #[must_use]
    pub fn new(component: Component) -> Self {
        let meters = component.meters();
        let room = Room::new(&component.limits, &meters);
        Self::in_room(component, meters, room)
    }

    /// A pool for another version of `old`, in the same room.
    #[must_use]
    pub fn successor(component: Component, old: &Self) -> Self {
        let meters = component.meters();
        Self::in_room(component, meters, Arc::clone(&old.room))
    }

    fn in_room(component: Component, meters: WasmMeters, room: Arc<Room>) -> Self {
        let breaker = Breaker::new(component.limits.on_faults);
        let (idle, retired) = (room.shelf(), AtomicBool::new(false));
        let (faults, errors) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { component, idle, room, breaker, meters, retired, faults, errors }
    }

    /// What the instances are of.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// How its instances stand.
    #[must_use]
    pub fn instances(&self) -> Instances {
        let idle = self.idle.all().map(|shard| shard.instances.len()).sum();
        let (live, waiting) = (self.room.taken(), self.room.waiting());
        Instances { live, idle, waiting, max: self.component.limits.max_instances }
    }

    /// Whether the plugin is held back, as too many of its calls trap.
    pub fn is_held(&self) -> bool {
        self.breaker.is_holding()
    }

    /// Another version is live: calls that wait go to that one.
    pub fn supersede(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.room.supersede(&self.idle);
    }

    /// Keeps no instance any more, unless it is live (again). Takes as long as to
    /// unmap their memory.
    pub fn retire(&self) {
        self.rest(0);
    }

    /// As [`Self::retire`], but it may be live again: keeps what its first calls need
    /// then.
    pub fn stand_by(&self) {
        // Not so many that the live version has no room.
        let spare = self.component.limits.max_instances as usize / 4;
        self.rest(KEPT_AT_REST.min(spare));
    }

    fn rest(&self, mut kept: usize) {
        for mut shard in self.idle.all() {
            if !self.retired.load(Ordering::Relaxed) {
                return;
            }
            let stay = kept.min(shard.instances.len());
            kept -= stay;
            let ended = shard.instances.split_off(stay);
            drop(shard);
            drop(ended);
        }
    }

    /// It is live (again).
    pub fn activate(&self) {
        self.retired.store(false, Ordering::Relaxed);
    }

    /// Makes an instance for the first call, if there is room.
    pub async fn warm(&self) -> Result<(), Fault> {
        let place = Place { party: Party::SERVER.number, kind: Kind::Call };
        let Some(seat) = self.room.seat(place, false) else { return Ok(()) };
        let taken = self.instantiate(seat, &Party::SERVER).await?;
        self.idle.home().instances.push(taken);
        Ok(())
    }

    /// How its calls went so far.
    pub fn health(&self) -> Health {
        let succeeded = self.idle.all().map(|shard| shard.succeeded).sum();
        let (faults, errors) = (&self.faults, &self.errors);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Health { succeeded, faults: count(faults), errors: count(errors) }
    }

    /// An instance for one call, if one is there; an error while the breaker
    /// holds the plugin back.
    pub(super) fn take(&self, stake: &Stake<'_>) -> Result<Option<Box<Taken>>, Fault> {
        self.breaker.admit(&stake.party).map_err(Fault::held)?;
        if stake.is_task() {
            let Some(hold) = self.room.hold_ahead(stake.place()) else { return Ok(None) };
            stake.holds(hold);
            return Ok(self.idle.pop());
        }
        // Those that wait come first.
        if self.room.is_awaited() || (self.room.is_crowded() && !self.room.may_have(stake.place()))
        {
            return Ok(None);
        }
        Ok(self.idle.pop())
    }

    /// An instance for messages of many connections, if one is there and nobody has
    /// to be asked whose turn it is.
    pub(super) fn take_for_many(&self) -> Option<Box<Taken>> {
        if self.breaker.is_holding() || self.room.is_awaited() || self.room.is_crowded() {
            return None;
        }
        self.idle.pop()
    }

    /// An instance for one call when none was there: a new one, or, as soon as
    /// there may be no more, the next that is returned.
    pub(super) async fn make_or_wait(&self, stake: &Stake<'_>) -> Result<Box<Taken>, Fault> {
        if stake.has_hold() || !stake.is_task() {
            if let Some(seat) = self.room.seat(stake.place(), stake.has_hold()) {
                stake.seated();
                return self.instantiate(seat, &stake.party).await;
            }
            // It waits for its turn like everybody.
            stake.lets_go();
        }
        let since = self.meters.now();
        let granted = self.wait(stake.place()).await;
        self.meters.waited(since);
        match granted {
            Granted::Instance(taken, hold) => {
                stake.holds(hold);
                Ok(taken)
            }
            Granted::Seat(seat, hold) => {
                stake.holds(hold);
                stake.seated();
                self.instantiate(seat, &stake.party).await
            }
            Granted::Superseded => Err(Fault::superseded()),
        }
    }

    async fn wait(&self, place: Place) -> Granted {
        let is_retired = || self.retired.load(Ordering::Relaxed);
        // A channel may be kept on a version that is not live any more.
        let was_live = !is_retired();
        self.room.wait(place, &self.idle, was_live, is_retired).await
    }

    /// A call of many messages is not over at once: it holds its instance.
    pub(super) fn hold(&self, party: &Party) -> Hold {
        self.room.hold(Place { party: party.number, kind: Kind::Call })
    }

    /// Whether an instance waits for memory.
    pub(super) fn lacks_memory(&self, instance: u64) -> bool {
        self.room.memory.is_awaited_by(instance)
    }

    /// Of one call.
    pub(super) fn stake(&self, party: Party, kind: Kind) -> Stake<'_> {
        Stake::new(&self.room, party, kind)
    }

    async fn instantiate(&self, seat: Seat, party: &Party) -> Result<Box<Taken>, Fault> {
        let since = self.meters.now();
        let made = Instance::new(&self.component, Some(&self.room)).await;
        self.meters.instantiated(since);
        match made {
            Ok(instance) => {
                self.room.memory.began_with(instance.charged_bytes());
                Ok(Box::new(Taken { instance, _seat: seat }))
            }
            Err(fault) => {
                self.faulted(&fault, party);
                Err(fault)
            }
        }
    }

    /// Takes back an instance whose call went well.
    pub(super) fn give_back(&self, taken: Box<Taken>, party: &Party) {
        self.give_back_after(1, !party.has_faulted, taken);
    }

    /// Takes back an instance that has handled so many messages well.
    pub(super) fn give_back_after(&self, messages: u64, has_blameless: bool, taken: Box<Taken>) {
        self.breaker.succeeded(messages, has_blameless);
        let mut shard = self.idle.home();
        shard.succeeded += messages;
        // Looked at under the lock, under which `rest` clears the shard. One is enough
        // where memory is wanted.
        let kept = taken.instance.is_reusable()
            && !self.retired.load(Ordering::Relaxed)
            && (!self.room.memory.is_wanted() || shard.instances.is_empty());
        let ended = if kept {
            shard.instances.push(taken);
            None
        } else {
            Some(taken)
        };
        drop(shard);
        drop(ended);
        self.room.returned();
    }

    /// Counts an error that a client was answered with.
    pub(super) fn answered_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages that were handled well before one that was not.
    pub(super) fn succeeded(&self, messages: u64, has_blameless: bool) {
        self.breaker.succeeded(messages, has_blameless);
        self.idle.home().succeeded += messages;
    }

    /// Counts a fault against the plugin, if it is to blame, in a call of a party.
    pub(super) fn faulted(&self, fault: &Fault, party: &Party) {
        if fault.is_plugins() || matches!(fault.kind, FaultKind::Deadline | FaultKind::Migration) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        if fault.is_plugins() && self.breaker.faulted(party) {
            let plugin = &self.component.settings.name;
            let (sources, until) = self.breaker.held();
            tracing::error!(
                plugin,
                sources,
                "too many calls trap: not called {until} (limits.on_faults)"
            );
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("component", &self.component).finish_non_exhaustive()
    }
}
