//! How many instances of a plugin may live, its versions together, and who gets the
//! next one.
//!
//! A call that finds an idle instance touches nothing here. Those that are not over at
//! once *hold* an instance, by party; a party may have a further one only as long as it
//! holds fewer than are left: alone it has at most half of all, two of them a third
//! each, and the last ones are for those that hold none. What may not have one, or
//! finds none, waits in turns by party.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_telemetry::WasmMeters;
use tokio::sync::oneshot;

use super::PluginLimits;
use super::fair_queue::{FairQueue, OfferReply, QueueKey, WorkKind};
use super::idle::{IdleInstances, PooledInstance};
use super::memory::Memory;

/// Room for the instances of one plugin (`limits.max_instances`).
pub(super) struct InstanceLimit {
    max: usize,
    /// Of these, those of tasks (`limits.max_task_instances`).
    max_tasks: usize,
    pub(super) memory: Memory,
    meters: WasmMeters,
    /// Somebody waits who may have the next one.
    awaited: AtomicBool,
    waiting: AtomicUsize,
    /// Calls and tasks that hold an instance.
    held: AtomicUsize,
    /// Idle instances are being ended.
    ends_idle: AtomicBool,
    state: Mutex<LimitState>,
}

#[derive(Default)]
struct LimitState {
    /// Seats.
    live: usize,
    /// Tasks that hold an instance.
    tasks: usize,
    /// How many each party holds.
    shares: HashMap<u64, usize>,
    queue: FairQueue<Waiter>,
    /// Of the versions.
    versions: Vec<Weak<IdleInstances>>,
}

/// One part in so many is left to parties that hold no instance: of many that come one
/// after the other, each has half of what is left, which soon is nothing.
const FOR_NEWCOMERS: usize = 16;

/// A call that waits for an instance of a version.
struct Waiter {
    idle: Arc<IdleInstances>,
    /// Whether it is made on another version that takes this one's place.
    moves: bool,
    sender: oneshot::Sender<Granted>,
}

/// What a call has waited for.
pub(super) enum Granted {
    Instance(Box<PooledInstance>, InstanceHold),
    Permit(InstancePermit, InstanceHold),
    /// Nothing: another version is live now.
    Superseded,
}

/// One of a room's; dropping it makes room for another instance.
pub(super) struct InstancePermit(Arc<InstanceLimit>);

/// A call or task that holds an instance, until it is dropped.
pub(super) struct InstanceHold {
    instance_limit: Arc<InstanceLimit>,
    key: QueueKey,
}

/// A call that waits; it has gone when this is dropped.
struct Waiting<'a> {
    instance_limit: &'a Arc<InstanceLimit>,
    key: QueueKey,
}

impl InstanceLimit {
    pub(super) fn new(limits: &PluginLimits, meters: &WasmMeters) -> Arc<Self> {
        let max = limits.max_instances as usize;
        Arc::new(Self {
            max,
            max_tasks: limits.max_task_instances() as usize,
            memory: Memory::new(limits.max_total_memory_bytes, meters.memory_total.clone()),
            meters: meters.clone(),
            awaited: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            ends_idle: AtomicBool::new(false),
            state: Mutex::default(),
        })
    }

    /// The idle instances of one more version.
    pub(super) fn add_version(&self) -> Arc<IdleInstances> {
        let idle = Arc::<IdleInstances>::default();
        let mut state = self.state();
        state.versions.retain(|idle| idle.strong_count() > 0);
        state.versions.push(Arc::downgrade(&idle));
        idle
    }

    /// How many instances live.
    pub(super) fn live_count(&self) -> usize {
        self.state().live
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether somebody waits who comes first.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Whether so many are held that not everybody may have a further one.
    pub(super) fn is_crowded(&self) -> bool {
        self.held.load(Ordering::Relaxed) * 2 >= self.max
    }

    /// Whether a call may have a further instance.
    pub(super) fn may_have(&self, key: QueueKey) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        self.state().may_have(key, self, held)
    }

    /// A seat for somebody who may have one, or has a hold, if there is one and nobody
    /// comes first.
    pub(super) fn try_permit(
        self: &Arc<Self>,
        key: QueueKey,
        has_hold: bool,
    ) -> Option<InstancePermit> {
        let mut state = self.state();
        let held = self.held.load(Ordering::Relaxed);
        let may_have = !self.is_awaited() && (has_hold || state.may_have(key, self, held));
        if may_have { self.take_permit(&mut state) } else { None }
    }

    fn take_permit(self: &Arc<Self>, state: &mut LimitState) -> Option<InstancePermit> {
        if state.live >= self.max || !self.memory.fits_new_instance() {
            return None;
        }
        state.live += 1;
        self.meters.instances.add(1);
        Some(InstancePermit(Arc::clone(self)))
    }

    /// A call or task goes on that has an instance.
    pub(super) fn hold(self: &Arc<Self>, key: QueueKey) -> InstanceHold {
        self.take_hold(&mut self.state(), key)
    }

    /// The same for a task that has no instance yet, if it may have one and nobody
    /// comes first.
    pub(super) fn try_hold(self: &Arc<Self>, key: QueueKey) -> Option<InstanceHold> {
        let mut state = self.state();
        let held = self.held.load(Ordering::Relaxed);
        let may_have = !self.is_awaited() && state.may_have(key, self, held);
        may_have.then(|| self.take_hold(&mut state, key))
    }

    fn take_hold(self: &Arc<Self>, state: &mut LimitState, key: QueueKey) -> InstanceHold {
        *state.shares.entry(key.owner).or_default() += 1;
        state.tasks += usize::from(key.kind == WorkKind::Task);
        self.held.fetch_add(1, Ordering::Relaxed);
        InstanceHold { instance_limit: Arc::clone(self), key }
    }

    /// Waits for the turn of a place. `moves` when it is made on another version that
    /// takes this one's place, which is so if `is_superseded`.
    pub(super) async fn wait(
        self: &Arc<Self>,
        key: QueueKey,
        idle: &Arc<IdleInstances>,
        moves: bool,
        is_superseded: impl Fn() -> bool,
    ) -> Granted {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // Dropped after the receiver, and what that may have been granted.
        let _waiting = Waiting { instance_limit: self, key };
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            if moves && is_superseded() {
                return Granted::Superseded;
            }
            state.queue.push(key, Waiter { idle: Arc::clone(idle), moves, sender });
            self.serve(state);
        }
        // An error if the line were gone, which this call is in.
        receiver.await.unwrap_or(Granted::Superseded)
    }

    /// An instance is idle now, put where waiting calls look under a lock: one that
    /// looked too early is seen to wait here.
    pub(super) fn returned(self: &Arc<Self>) {
        if self.is_awaited() {
            self.serve(self.state());
        }
    }

    /// Another version is live: calls that wait go to that one.
    pub(super) fn supersede(self: &Arc<Self>, idle: &Arc<IdleInstances>) {
        let mut state = self.state();
        let moved = state.queue.extract(|waiter| waiter.moves && Arc::ptr_eq(&waiter.idle, idle));
        self.serve(state);
        for waiter in moved {
            // An error if it has been given up.
            let _ = waiter.sender.send(Granted::Superseded);
        }
    }

    /// Memory was given back.
    pub(super) fn release_memory(self: &Arc<Self>, bytes: usize) {
        self.memory.give_back(bytes);
        self.returned();
    }

    /// Ends an idle instance of any version; false when there is none.
    pub(super) fn end_idle(&self) -> bool {
        let versions: Vec<_> = self.state().versions.iter().filter_map(Weak::upgrade).collect();
        let idle = versions.iter().find_map(|idle| idle.pop());
        // Not under the lock: it gives its seat back.
        idle.is_some()
    }

    /// Gives what there is to those who wait.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, LimitState>) {
        if state.queue.is_empty() {
            return self.awaited.store(false, Ordering::Relaxed);
        }
        // Before anything is looked at: whoever returns something after that is told.
        self.awaited.store(true, Ordering::Relaxed);
        let mut queue = std::mem::take(&mut state.queue);
        let (mut is_awaited, mut refused) = (false, Vec::new());
        // Versions that have no idle instance.
        let mut empty: Vec<*const IdleInstances> = Vec::new();
        queue.serve(|key, waiter| {
            if waiter.sender.is_closed() {
                return OfferReply::Accepted;
            }
            let held = self.held.load(Ordering::Relaxed);
            if !state.may_have(key, self, held) {
                return OfferReply::Declined(waiter);
            }
            let version = Arc::as_ptr(&waiter.idle);
            let idle = if empty.contains(&version) { None } else { waiter.idle.pop() };
            let granted = match idle {
                Some(pooled) => Granted::Instance(pooled, self.take_hold(&mut state, key)),
                None => match self.take_permit(&mut state) {
                    Some(permit) => Granted::Permit(permit, self.take_hold(&mut state, key)),
                    None => {
                        is_awaited = true;
                        if !empty.contains(&version) {
                            empty.push(version);
                        }
                        let all = empty.len() >= state.versions.len();
                        return if all {
                            OfferReply::Exhausted(waiter)
                        } else {
                            OfferReply::Declined(waiter)
                        };
                    }
                },
            };
            if let Err(granted) = waiter.sender.send(granted) {
                refused.push(granted);
            }
            OfferReply::Accepted
        });
        state.queue = queue;
        self.awaited.store(is_awaited, Ordering::Relaxed);
        let lacks_memory = is_awaited && state.live < self.max;
        drop(state);
        drop(refused);
        // What nobody uses gives way. Each that ends comes by here again.
        if lacks_memory && !self.ends_idle.swap(true, Ordering::Relaxed) {
            while self.is_awaited() && !self.memory.fits_new_instance() && self.end_idle() {}
            self.ends_idle.store(false, Ordering::Relaxed);
        }
    }

    fn state(&self) -> MutexGuard<'_, LimitState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LimitState {
    fn may_have(&self, key: QueueKey, instance_limit: &InstanceLimit, held: usize) -> bool {
        let own = self.shares.get(&key.owner).copied().unwrap_or_default();
        let has_share = |left: usize, most: usize, max: usize| {
            own < most && (own == 0 || left > max / FOR_NEWCOMERS)
        };
        let left = instance_limit.max.saturating_sub(held);
        let of_tasks = || {
            let left = instance_limit.max_tasks.saturating_sub(self.tasks);
            // Of these there are fewer, and one client may want many: two thirds.
            has_share(left, 2 * left, instance_limit.max_tasks)
        };
        has_share(left, left, instance_limit.max) && (key.kind == WorkKind::Call || of_tasks())
    }
}

impl std::fmt::Debug for InstanceLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstanceLimit").field("max", &self.max).finish_non_exhaustive()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.instance_limit.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.instance_limit.state();
        state.queue.leave(self.key, |waiter| waiter.sender.is_closed());
        self.instance_limit.serve(state);
    }
}

impl Drop for InstancePermit {
    fn drop(&mut self) {
        self.0.meters.instances.add(-1);
        let mut state = self.0.state();
        state.live -= 1;
        self.0.serve(state);
    }
}

impl Drop for InstanceHold {
    fn drop(&mut self) {
        let Self { instance_limit, key } = self;
        let mut state = instance_limit.state();
        instance_limit.held.fetch_sub(1, Ordering::Relaxed);
        state.tasks -= usize::from(key.kind == WorkKind::Task);
        if let Some(share) = state.shares.get_mut(&key.owner) {
            *share -= 1;
            if *share == 0 {
                state.shares.remove(&key.owner);
            }
        }
        instance_limit.serve(state);
    }
}

#[cfg(test)]
#[path = "instance_limit_tests.rs"]
mod tests;
