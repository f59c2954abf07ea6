//! The pool of the instances of one component, which is one version of a plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use millrace_telemetry::WasmMeters;
use serde::Serialize;

use super::claim::InstanceClaim;
use super::fair_queue::{QueueKey, WorkKind};
use super::idle::{IdleInstances, PooledInstance};
use super::instance::Instance;
use super::instance_limit::{Granted, InstanceHold, InstanceLimit, InstancePermit};
use super::owner::CallOwner;
use super::{Breaker, Component, Fault, FaultKind};

/// Hands out instances, makes new ones if none is idle, and lets calls wait if there may be no
/// more.
pub struct Pool {
    component: Component,
    idle: Arc<IdleInstances>,
    instance_limit: Arc<InstanceLimit>,
    breaker: Breaker,
    pub(super) meters: WasmMeters,
    /// Whether another version is live: instances that come back are ended then.
    retired: AtomicBool,
    /// The number of calls that failed through the fault of the plugin.
    faults: AtomicU64,
    /// The number of calls that answered with an error, which is no fault.
    errors: AtomicU64,
}

/// The number of calls of a version, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Calls that went well.
    pub succeeded: u64,
    /// Calls that failed through the fault of the plugin.
    pub faults: u64,
    /// Calls that went well and answered their client with an error.
    pub errors: u64,
}

/// The idle instances that a version keeps that is not live but may be again: for its first calls
/// then.
const STANDBY_INSTANCES: usize = 2;

/// The number of instances of a plugin, by what they do.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Instances {
    /// Live instances of all versions of the plugin; versions that are not live finish their calls.
    live: usize,
    /// Idle instances of this version.
    idle: usize,
    /// Calls that wait for an instance.
    waiting: usize,
    max: u32,
}

impl Pool {
    /// A pool of at most `limits.max_instances`.
    #[must_use]
    pub fn new(component: Component) -> Self {
        let meters = component.meters();
        let instance_limit = InstanceLimit::new(&component.limits, &meters);
        Self::with_limit(component, meters, instance_limit)
    }

    /// A pool for another version of the plugin of `old`, under the same limit of instances.
    #[must_use]
    pub fn successor(component: Component, old: &Self) -> Self {
        let meters = component.meters();
        Self::with_limit(component, meters, Arc::clone(&old.instance_limit))
    }

    /// A pool whose instances count in this limit.
    fn with_limit(
        component: Component,
        meters: WasmMeters,
        instance_limit: Arc<InstanceLimit>,
    ) -> Self {
        let breaker = Breaker::new(component.limits.on_faults);
        let (idle, retired) = (instance_limit.add_version(), AtomicBool::new(false));
        let (faults, errors) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { component, idle, instance_limit, breaker, meters, retired, faults, errors }
    }

    /// The component of the instances.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// The number of its instances, by what they do.
    #[must_use]
    pub fn instances(&self) -> Instances {
        let idle = self.idle.shards().map(|shard| shard.instances.len()).sum();
        let (live, waiting) = (self.instance_limit.live_count(), self.instance_limit.waiting());
        Instances { live, idle, waiting, max: self.component.limits.max_instances }
    }

    /// Whether the plugin is held back because too many of its calls trap.
    pub fn is_held(&self) -> bool {
        self.breaker.is_holding()
    }

    /// Notes that another version is live: calls that wait go to that one.
    pub fn supersede(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.instance_limit.supersede(&self.idle);
    }

    /// Ends all idle instances, and those that come back, unless the version is live (again).
    /// Unmapping their memory takes time.
    pub fn retire(&self) {
        self.trim_idle(0);
    }

    /// As [`Self::retire`], but keeps a few instances for the first calls of a version that may be
    /// live again.
    pub fn stand_by(&self) {
        // At most a quarter, so that the live version has instances.
        let quarter = self.component.limits.max_instances as usize / 4;
        self.trim_idle(STANDBY_INSTANCES.min(quarter));
    }

    /// Ends all idle instances but `keep`, unless this version is live again.
    fn trim_idle(&self, mut keep: usize) {
        for mut shard in self.idle.shards() {
            if !self.retired.load(Ordering::Relaxed) {
                return;
            }
            let stay = keep.min(shard.instances.len());
            keep -= stay;
            let ended = shard.instances.split_off(stay);
            drop(shard);
            drop(ended);
        }
    }

    /// Notes that this version is live (again).
    pub fn activate(&self) {
        self.retired.store(false, Ordering::Relaxed);
    }

    /// Makes an instance for the first call, if the limits allow one.
    ///
    /// # Errors
    ///
    /// The fault of making it.
    pub async fn warm(&self) -> Result<(), Fault> {
        let key = QueueKey { owner: CallOwner::SERVER.number, kind: WorkKind::Call };
        let Some(permit) = self.instance_limit.try_permit(key, false) else { return Ok(()) };
        let pooled = self.instantiate(permit, &CallOwner::SERVER).await?;
        self.idle.own_shard().instances.push(pooled);
        Ok(())
    }

    /// The number of its calls so far, by how they ended.
    pub fn health(&self) -> Health {
        let succeeded = self.idle.shards().map(|shard| shard.succeeded).sum();
        let (faults, errors) = (&self.faults, &self.errors);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Health { succeeded, faults: count(faults), errors: count(errors) }
    }

    /// An idle instance for one call; `None` if there is none or the owner of the call has to wait.
    ///
    /// # Errors
    ///
    /// A fault while the breaker holds the plugin back.
    pub(super) fn take(
        &self,
        claim: &InstanceClaim<'_>,
    ) -> Result<Option<Box<PooledInstance>>, Fault> {
        self.breaker.admit(&claim.owner).map_err(Fault::held)?;
        if claim.is_task() {
            let Some(hold) = self.instance_limit.try_hold(claim.key()) else { return Ok(None) };
            claim.set_hold(hold);
            return Ok(self.idle.pop());
        }
        // Calls that wait come first.
        if self.instance_limit.is_awaited()
            || (self.instance_limit.is_crowded() && !self.instance_limit.may_have(claim.key()))
        {
            return Ok(None);
        }
        Ok(self.idle.pop())
    }

    /// An idle instance for messages of many connections; `None` if there is none, the plugin is
    /// held back, or owners have to take turns.
    pub(super) fn take_for_batch(&self) -> Option<Box<PooledInstance>> {
        if self.breaker.is_holding()
            || self.instance_limit.is_awaited()
            || self.instance_limit.is_crowded()
        {
            return None;
        }
        self.idle.pop()
    }

    /// An instance for one call when none was idle: a new one, or, if there may be no more, the
    /// next one that comes back.
    pub(super) async fn make_or_wait(
        &self,
        claim: &InstanceClaim<'_>,
    ) -> Result<Box<PooledInstance>, Fault> {
        if claim.has_hold() || !claim.is_task() {
            if let Some(permit) = self.instance_limit.try_permit(claim.key(), claim.has_hold()) {
                claim.got_permit();
                return self.instantiate(permit, &claim.owner).await;
            }
            // The call waits for its turn like all others.
            claim.release_hold();
        }
        let since = self.meters.now();
        let granted = self.wait(claim.key()).await;
        self.meters.waited(since);
        match granted {
            Granted::Instance(pooled, hold) => {
                claim.set_hold(hold);
                Ok(pooled)
            }
            Granted::Permit(permit, hold) => {
                claim.set_hold(hold);
                claim.got_permit();
                self.instantiate(permit, &claim.owner).await
            }
            Granted::Superseded => Err(Fault::superseded()),
        }
    }

    /// Waits for an instance or a permit.
    async fn wait(&self, key: QueueKey) -> Granted {
        let is_retired = || self.retired.load(Ordering::Relaxed);
        // A channel may be pinned to a version that is not live any more; its calls stay here.
        let was_live = !is_retired();
        self.instance_limit.wait(key, &self.idle, was_live, is_retired).await
    }

    /// Counts a batch that is not over at once: it holds its instance.
    pub(super) fn hold(&self, owner: &CallOwner) -> InstanceHold {
        self.instance_limit.hold(QueueKey { owner: owner.number, kind: WorkKind::Call })
    }

    /// Whether the instance of this number waits for memory.
    pub(super) fn lacks_memory(&self, instance: u64) -> bool {
        self.instance_limit.memory.is_awaited_by(instance)
    }

    /// The claim of one call.
    pub(super) fn claim(&self, owner: CallOwner, kind: WorkKind) -> InstanceClaim<'_> {
        InstanceClaim::new(&self.instance_limit, owner, kind)
    }

    async fn instantiate(
        &self,
        permit: InstancePermit,
        owner: &CallOwner,
    ) -> Result<Box<PooledInstance>, Fault> {
        let since = self.meters.now();
        let made = Instance::new(&self.component, Some(&self.instance_limit)).await;
        self.meters.instantiated(since);
        match made {
            Ok(instance) => {
                self.instance_limit.memory.began_with(instance.charged_bytes());
                Ok(Box::new(PooledInstance { instance, _permit: permit }))
            }
            Err(fault) => {
                self.faulted(&fault, owner);
                Err(fault)
            }
        }
    }

    /// Takes back an instance whose call went well.
    pub(super) fn give_back(&self, pooled: Box<PooledInstance>, owner: &CallOwner) {
        self.give_back_after(1, !owner.has_faulted, pooled);
    }

    /// Takes back an instance that has handled `messages` messages well. `has_blameless` says
    /// whether one of them was of an owner that has caused no fault.
    pub(super) fn give_back_after(
        &self,
        messages: u64,
        has_blameless: bool,
        pooled: Box<PooledInstance>,
    ) {
        self.breaker.succeeded(messages, has_blameless);
        let mut shard = self.idle.own_shard();
        shard.succeeded += messages;
        // This is decided under the lock under which `trim_idle` clears the shard. While memory is
        // short, one idle instance in a shard is enough.
        let keep = pooled.instance.is_reusable()
            && !self.retired.load(Ordering::Relaxed)
            && (!self.instance_limit.memory.is_wanted() || shard.instances.is_empty());
        let ended = if keep {
            shard.instances.push(pooled);
            None
        } else {
            Some(pooled)
        };
        drop(shard);
        drop(ended);
        self.instance_limit.returned();
    }

    /// Counts a call that answered its client with an error.
    pub(super) fn answered_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the messages of a batch that were handled well before one that failed.
    pub(super) fn succeeded(&self, messages: u64, has_blameless: bool) {
        self.breaker.succeeded(messages, has_blameless);
        self.idle.own_shard().succeeded += messages;
    }

    /// Counts a fault of a call against the plugin, if it is to blame, and against the owner of the
    /// call.
    pub(super) fn faulted(&self, fault: &Fault, owner: &CallOwner) {
        if fault.is_plugins() || matches!(fault.kind, FaultKind::Deadline | FaultKind::Migration) {
            self.faults.fetch_add(1, Ordering::Relaxed);
        }
        if fault.is_plugins() && self.breaker.faulted(owner) {
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
