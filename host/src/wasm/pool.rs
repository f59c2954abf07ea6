//! Instances of one component that wait for a call.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::instance::Instance;
use super::party::Party;
use super::room::{Room, Seat};
use super::{Breaker, Component, Fault, FaultKind};
use crate::telemetry::WasmMeters;

/// Hands out instances, makes new ones when none is free, and lets calls wait
/// when there may be no more.
///
/// The last one a thread returned goes out to it first, as its memory is still
/// warm in that core's caches.
pub struct Pool {
    component: Component,
    /// By thread, so that threads seldom meet; never empty.
    idle: [Shard; SHARDS],
    room: Arc<Room>,
    /// Calls that wait come one after the other.
    line: tokio::sync::Mutex<()>,
    breaker: Breaker,
    pub(super) meters: WasmMeters,
    /// Another version is live: what is returned is not kept.
    retired: AtomicBool,
    /// Calls that came to nothing through the plugin's doing.
    faults: AtomicU64,
    /// Calls that answered with an error, which is no fault.
    errors: AtomicU64,
}

/// Instances that wait for a call, in cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    #[expect(clippy::vec_box, reason = "each call moves one in and out")]
    instances: Vec<Box<Taken>>,
    /// Calls that went well.
    succeeded: u64,
}

/// How the calls of a version went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Health {
    /// That went well.
    pub(crate) succeeded: u64,
    /// That did not, through the plugin's doing.
    pub(crate) faults: u64,
    /// Of those that went well: that answered their client with an error.
    pub(crate) errors: u64,
}

/// Instances that a version keeps that may be live again: for the first calls
/// then.
const KEPT_AT_REST: usize = 2;

/// An instance out of the pool. Dropping it ends the instance, which is right
/// for one whose call trapped or was cut off.
pub(super) struct Taken {
    pub(super) instance: Instance,
    _seat: Seat,
}

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

/// What a call waited for.
enum Waited {
    Instance(Box<Taken>),
    Seat(Seat),
    /// For nothing: another version is live now.
    Superseded,
}

/// As many as cores that share a server's load, in powers of two.
const SHARDS: usize = 16;

thread_local! {
    /// The shard a thread looks into first.
    static HOME: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Pool {
    /// A pool of at most `limits.max_instances`.
    #[must_use]
    pub fn new(component: Component) -> Self {
        let meters = component.meters();
        let room = Room::new(component.limits.max_instances, meters.instances.clone());
        Self::in_room(component, meters, room)
    }

    /// A pool for another version of `old`, in the same room.
    #[must_use]
    pub fn successor(component: Component, old: &Self) -> Self {
        let meters = component.meters();
        Self::in_room(component, meters, Arc::clone(&old.room))
    }

    fn in_room(component: Component, meters: WasmMeters, room: Arc<Room>) -> Self {
        let idle = std::array::from_fn(|_| Shard::default());
        let breaker = Breaker::new(component.limits.on_faults);
        let (line, retired) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        let (faults, errors) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { component, idle, room, line, breaker, meters, retired, faults, errors }
    }

    /// What the instances are of.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// How its instances stand.
    #[must_use]
    pub fn instances(&self) -> Instances {
        let idle = (0..SHARDS).map(|shard| self.shard(shard).instances.len()).sum();
        let (live, waiting) = (self.room.taken(), self.room.waiting());
        Instances { live, idle, waiting, max: self.component.limits.max_instances }
    }

    /// Whether the plugin is held back, as too many of its calls trap.
    pub(crate) fn is_held(&self) -> bool {
        self.breaker.is_holding()
    }

    /// Another version is live: calls that wait go to that one.
    pub(crate) fn supersede(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.room.returned();
    }

    /// Keeps no instance any more, unless it is live (again). Takes as long as to
    /// unmap their memory.
    pub(crate) fn retire(&self) {
        self.rest(0);
    }

    /// As [`Self::retire`], but it may be live again: keeps what its first calls need
    /// then.
    pub(crate) fn stand_by(&self) {
        // Not so many that the live version has no room.
        let spare = self.component.limits.max_instances as usize / 4;
        self.rest(KEPT_AT_REST.min(spare));
    }

    fn rest(&self, mut kept: usize) {
        for number in 0..SHARDS {
            if !self.retired.load(Ordering::Relaxed) {
                return;
            }
            let mut shard = self.shard(number);
            let stay = kept.min(shard.instances.len());
            kept -= stay;
            let ended = shard.instances.split_off(stay);
            drop(shard);
            drop(ended);
        }
        self.room.returned();
    }

    /// It is live (again).
    pub(crate) fn activate(&self) {
        self.retired.store(false, Ordering::Relaxed);
    }

    /// Makes an instance for the first call, if there is room.
    pub(crate) async fn warm(&self) -> Result<(), Fault> {
        let Some(seat) = self.room.seat() else { return Ok(()) };
        let taken = self.instantiate(seat, &Party::SERVER).await?;
        self.shard(HOME.with(|home| *home)).instances.push(taken);
        Ok(())
    }

    /// How its calls went so far.
    pub(crate) fn health(&self) -> Health {
        let succeeded = (0..SHARDS).map(|number| self.shard(number).succeeded).sum();
        let (faults, errors) = (&self.faults, &self.errors);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Health { succeeded, faults: count(faults), errors: count(errors) }
    }

    /// An instance for one call, if one is there; an error while the breaker
    /// holds the plugin back.
    pub(super) fn take(&self, party: &Party) -> Result<Option<Box<Taken>>, Fault> {
        self.breaker.admit(party).map_err(Fault::held)?;
        // Those that wait come first.
        Ok(if self.room.is_awaited() { None } else { self.idle_instance() })
    }

    /// An instance for messages of many connections, if one is there and nobody has
    /// to be asked whose turn it is.
    pub(super) fn take_for_many(&self) -> Option<Box<Taken>> {
        if self.breaker.is_holding() || self.room.is_awaited() {
            return None;
        }
        self.idle_instance()
    }

    /// An instance for one call when none was there: a new one, or, as soon as
    /// there may be no more, the next that is returned.
    pub(super) async fn make_or_wait(&self, party: &Party) -> Result<Box<Taken>, Fault> {
        if !self.room.is_awaited()
            && let Some(seat) = self.room.seat()
        {
            return self.instantiate(seat, party).await;
        }
        let since = self.meters.now();
        let waited = self.wait().await;
        self.meters.waited(since);
        match waited {
            Waited::Instance(taken) => Ok(taken),
            Waited::Seat(seat) => self.instantiate(seat, party).await,
            Waited::Superseded => Err(Fault::superseded()),
        }
    }

    async fn wait(&self) -> Waited {
        // A channel may be kept on a version that is not live any more.
        let was_live = !self.retired.load(Ordering::Relaxed);
        let waiting = self.room.wait();
        let _first = self.line.lock().await;
        loop {
            let mut returned = pin!(waiting.returned());
            returned.as_mut().enable();
            if was_live && self.retired.load(Ordering::Relaxed) {
                return Waited::Superseded;
            }
            if let Some(taken) = self.idle_instance() {
                return Waited::Instance(taken);
            }
            if let Some(seat) = self.room.seat() {
                return Waited::Seat(seat);
            }
            returned.await;
        }
    }

    async fn instantiate(&self, seat: Seat, party: &Party) -> Result<Box<Taken>, Fault> {
        let since = self.meters.now();
        let made = Instance::new(&self.component).await;
        self.meters.instantiated(since);
        match made {
            Ok(instance) => Ok(Box::new(Taken { instance, _seat: seat })),
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
    pub(super) fn give_back_after(
        &self,
        messages: u64,
        has_blameless: bool,
        taken: Box<Taken>,
    ) {
        self.breaker.succeeded(messages, has_blameless);
        let mut shard = self.shard(HOME.with(|home| *home));
        shard.succeeded += messages;
        // Looked at under the lock, under which `rest` clears the shard.
        let kept = taken.instance.is_reusable() && !self.retired.load(Ordering::Relaxed);
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

    /// One that waits, from this thread's shard or else from another's.
    fn idle_instance(&self) -> Option<Box<Taken>> {
        let home = HOME.with(|home| *home);
        (home..home + SHARDS).find_map(|shard| self.shard(shard).instances.pop())
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Idle> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let shard = &self.idle[number % SHARDS].0;
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an error that a client was answered with.
    pub(super) fn answered_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages that were handled well before one that was not.
    pub(super) fn succeeded(&self, messages: u64, has_blameless: bool) {
        self.breaker.succeeded(messages, has_blameless);
        self.shard(HOME.with(|home| *home)).succeeded += messages;
    }

    /// Counts a fault against the plugin, if it is to blame, in a call of a party.
    pub(super) fn faulted(&self, fault: &Fault, party: &Party) {
        if fault.is_plugins() || matches!(fault.kind, FaultKind::Deadline | FaultKind::Migration) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        if fault.is_plugins() && self.breaker.faulted(party) {
            let plugin = &self.component.settings.name;
            tracing::error!(plugin, "too many calls trap: held back (limits.on_faults)");
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("component", &self.component).finish_non_exhaustive()
    }
}
