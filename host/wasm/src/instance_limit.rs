//! The limit of the live instances of a plugin, all its versions together, and who gets the next
//! one.
//!
//! A call that finds an idle instance touches nothing here. Calls that are not over at once *hold*
//! an instance, which is counted by owner. An owner may have a further one only while it holds
//! fewer than are left: one that is alone has at most half of all, two of them a third each, and
//! the last ones are for owners that hold none. A call that may not have one, or finds none, waits;
//! owners take turns.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use millrace_telemetry::WasmMeters;
use tokio::sync::oneshot;

use super::PluginLimits;
use super::fair_queue::{FairQueue, OfferReply, QueueKey, WorkKind};
use super::idle::{IdleInstances, PooledInstance};
use super::memory::Memory;

/// The limit of the instances of one plugin (`limits.max_instances`).
pub(super) struct InstanceLimit {
    max: usize,
    /// The number of instances that tasks may hold (`limits.max_task_instances`).
    max_tasks: usize,
    pub(super) memory: Memory,
    meters: WasmMeters,
    /// Whether a call waits that may have the next instance.
    awaited: AtomicBool,
    waiting: AtomicUsize,
    /// The number of calls and tasks that hold an instance.
    held: AtomicUsize,
    /// Whether a thread is ending idle instances; a second one need not.
    ends_idle: AtomicBool,
    state: Mutex<LimitState>,
}

/// What is changed under the lock.
#[derive(Default)]
struct LimitState {
    /// The number of live instances, which is that of the permits.
    live: usize,
    /// The number of tasks that hold an instance.
    tasks: usize,
    /// The number of instances that each owner holds, by the number of the owner.
    shares: HashMap<u64, usize>,
    queue: FairQueue<Waiter>,
    /// The idle instances of each version.
    versions: Vec<Weak<IdleInstances>>,
}

/// The part of the instances (one in so many) that is left to owners that hold none. Without it
/// each of many owners that come one after the other would take half of what is left, which soon is
/// nothing.
const FOR_NEWCOMERS: usize = 16;

/// A call that waits for an instance of a version.
struct Waiter {
    idle: Arc<IdleInstances>,
    /// Whether the call goes to the next version when this one is superseded.
    moves: bool,
    sender: oneshot::Sender<Granted>,
}

/// The end of a call's wait.
pub(super) enum Granted {
    Instance(Box<PooledInstance>, InstanceHold),
    Permit(InstancePermit, InstanceHold),
    /// No instance: another version is live now.
    Superseded,
}

/// The permit for one live instance; dropping it allows another.
pub(super) struct InstancePermit(Arc<InstanceLimit>);

/// A call or task that holds an instance, until this is dropped.
pub(super) struct InstanceHold {
    instance_limit: Arc<InstanceLimit>,
    key: QueueKey,
}

/// A call that waits; when this is dropped, it waits no more.
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

    /// Adds a version, and returns the place for its idle instances.
    pub(super) fn add_version(&self) -> Arc<IdleInstances> {
        let idle = Arc::<IdleInstances>::default();
        let mut state = self.state();
        state.versions.retain(|idle| idle.strong_count() > 0);
        state.versions.push(Arc::downgrade(&idle));
        idle
    }

    /// The number of live instances of all versions.
    pub(super) fn live_count(&self) -> usize {
        self.state().live
    }

    /// The number of calls that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether a call waits that comes before new ones.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Whether half of the instances or more are held, so that an owner may have no further one.
    pub(super) fn is_crowded(&self) -> bool {
        self.held.load(Ordering::Relaxed) * 2 >= self.max
    }

    /// Whether the owner of a call may hold a further instance.
    pub(super) fn may_have(&self, key: QueueKey) -> bool {
        let held = self.held.load(Ordering::Relaxed);
        self.state().may_have(key, self, held)
    }

    /// A permit, if the owner may have one or the call has a hold; `None` if there is none left or
    /// others wait for one.
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

    /// Counts a call or task that goes on and has an instance.
    pub(super) fn hold(self: &Arc<Self>, key: QueueKey) -> InstanceHold {
        self.take_hold(&mut self.state(), key)
    }

    /// Counts a task that has no instance yet; `None` if its owner may not have one, or others wait
    /// for one.
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

    /// Waits for an instance or a permit. With `moves`, the call goes to the next version as soon
    /// as this one is superseded, which may be so already (`is_superseded`).
    pub(super) async fn wait(
        self: &Arc<Self>,
        key: QueueKey,
        idle: &Arc<IdleInstances>,
        moves: bool,
        is_superseded: impl Fn() -> bool,
    ) -> Granted {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // It is dropped after the receiver and what that may have been granted.
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
        // It cannot fail: the queue has the sender for as long as this call waits.
        receiver.await.unwrap_or(Granted::Superseded)
    }

    /// Serves those that wait after an instance was put among the idle ones. A call that looked
    /// there too early is in the queue by now, as both happen under locks.
    pub(super) fn returned(self: &Arc<Self>) {
        if self.is_awaited() {
            self.serve(self.state());
        }
    }

    /// Sends the calls that wait for this version to the one that is live now.
    pub(super) fn supersede(self: &Arc<Self>, idle: &Arc<IdleInstances>) {
        let mut state = self.state();
        let moved = state.queue.extract(|waiter| waiter.moves && Arc::ptr_eq(&waiter.idle, idle));
        self.serve(state);
        for waiter in moved {
            // An error says that the call has been given up meanwhile.
            let _ = waiter.sender.send(Granted::Superseded);
        }
    }

    /// Gives memory back, in bytes, and serves those that wait.
    pub(super) fn release_memory(self: &Arc<Self>, bytes: usize) {
        self.memory.give_back(bytes);
        self.returned();
    }

    /// Ends an idle instance of any version; false if there is none.
    pub(super) fn end_idle(&self) -> bool {
        let versions: Vec<_> = self.state().versions.iter().filter_map(Weak::upgrade).collect();
        let idle = versions.iter().find_map(|idle| idle.pop());
        // It is dropped without the lock, which it needs to give its permit back.
        idle.is_some()
    }

    /// Grants the instances and permits that there are to the calls that wait.
    fn serve(self: &Arc<Self>, mut state: MutexGuard<'_, LimitState>) {
        if state.queue.is_empty() {
            return self.awaited.store(false, Ordering::Relaxed);
        }
        // This is set before anything is looked at, so whoever returns something later comes here
        // too.
        self.awaited.store(true, Ordering::Relaxed);
        let mut queue = std::mem::take(&mut state.queue);
        let (mut is_awaited, mut refused) = (false, Vec::new());
        // The versions that have no idle instance.
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
        // Idle instances give way if memory is short. Each that ends comes by here again.
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
    /// Whether the owner may hold a further instance, when `held` are held in all.
    fn may_have(&self, key: QueueKey, instance_limit: &InstanceLimit, held: usize) -> bool {
        let own = self.shares.get(&key.owner).copied().unwrap_or_default();
        let has_share = |left: usize, most: usize, max: usize| {
            own < most && (own == 0 || left > max / FOR_NEWCOMERS)
        };
        let left = instance_limit.max.saturating_sub(held);
        let of_tasks = || {
            let left = instance_limit.max_tasks.saturating_sub(self.tasks);
            // There are fewer of them, and one client may want many: it has up to two thirds.
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
