//! Instances of one component that wait for a call.

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

/// Hands out instances, makes new ones when none is free, and lets calls wait
/// when there may be no more.
pub struct Pool {
    component: Component,
    idle: Arc<IdleInstances>,
    instance_limit: Arc<InstanceLimit>,
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
const STANDBY_INSTANCES: usize = 2;

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
        let instance_limit = InstanceLimit::new(&component.limits, &meters);
        Self::with_limit(component, meters, instance_limit)
    }

    /// A pool for another version of `old`, in the same room.
    #[must_use]
    pub fn successor(component: Component, old: &Self) -> Self {
        let meters = component.meters();
        Self::with_limit(component, meters, Arc::clone(&old.instance_limit))
    }

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

    /// What the instances are of.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// How its instances stand.
    #[must_use]
    pub fn instances(&self) -> Instances {
        let idle = self.idle.shards().map(|shard| shard.instances.len()).sum();
        let (live, waiting) = (self.instance_limit.live_count(), self.instance_limit.waiting());
        Instances { live, idle, waiting, max: self.component.limits.max_instances }
    }

    /// Whether the plugin is held back, as too many of its calls trap.
    pub fn is_held(&self) -> bool {
        self.breaker.is_holding()
    }

    /// Another version is live: calls that wait go to that one.
    pub fn supersede(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.instance_limit.supersede(&self.idle);
    }

    /// Keeps no instance any more, unless it is live (again). Takes as long as to
    /// unmap their memory.
    pub fn retire(&self) {
        self.trim_idle(0);
    }

    /// As [`Self::retire`], but it may be live again: keeps what its first calls need
    /// then.
    pub fn stand_by(&self) {
        // Not so many that the live version has no room.
        let quarter = self.component.limits.max_instances as usize / 4;
        self.trim_idle(STANDBY_INSTANCES.min(quarter));
    }

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

    /// It is live (again).
    pub fn activate(&self) {
        self.retired.store(false, Ordering::Relaxed);
    }

    /// Makes an instance for the first call, if there is room.
    pub async fn warm(&self) -> Result<(), Fault> {
        let key = QueueKey { owner: CallOwner::SERVER.number, kind: WorkKind::Call };
        let Some(permit) = self.instance_limit.try_permit(key, false) else { return Ok(()) };
        let pooled = self.instantiate(permit, &CallOwner::SERVER).await?;
        self.idle.own_shard().instances.push(pooled);
        Ok(())
    }

    /// How its calls went so far.
    pub fn health(&self) -> Health {
        let succeeded = self.idle.shards().map(|shard| shard.succeeded).sum();
        let (faults, errors) = (&self.faults, &self.errors);
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Health { succeeded, faults: count(faults), errors: count(errors) }
    }

    /// An instance for one call, if one is there; an error while the breaker
    /// holds the plugin back.
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
        // Those that wait come first.
        if self.instance_limit.is_awaited()
            || (self.instance_limit.is_crowded() && !self.instance_limit.may_have(claim.key()))
        {
            return Ok(None);
        }
        Ok(self.idle.pop())
    }

    /// An instance for messages of many connections, if one is there and nobody has
    /// to be asked whose turn it is.
    pub(super) fn take_for_batch(&self) -> Option<Box<PooledInstance>> {
        if self.breaker.is_holding()
            || self.instance_limit.is_awaited()
            || self.instance_limit.is_crowded()
        {
            return None;
        }
        self.idle.pop()
    }

    /// An instance for one call when none was there: a new one, or, as soon as
    /// there may be no more, the next that is returned.
    pub(super) async fn make_or_wait(
        &self,
        claim: &InstanceClaim<'_>,
    ) -> Result<Box<PooledInstance>, Fault> {
        if claim.has_hold() || !claim.is_task() {
            if let Some(permit) = self.instance_limit.try_permit(claim.key(), claim.has_hold()) {
                claim.got_permit();
                return self.instantiate(permit, &claim.owner).await;
            }
            // It waits for its turn like everybody.
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

    async fn wait(&self, key: QueueKey) -> Granted {
        let is_retired = || self.retired.load(Ordering::Relaxed);
        // A channel may be kept on a version that is not live any more.
        let was_live = !is_retired();
        self.instance_limit.wait(key, &self.idle, was_live, is_retired).await
    }

    /// A call of many messages is not over at once: it holds its instance.
    pub(super) fn hold(&self, owner: &CallOwner) -> InstanceHold {
        self.instance_limit.hold(QueueKey { owner: owner.number, kind: WorkKind::Call })
    }

    /// Whether an instance waits for memory.
    pub(super) fn lacks_memory(&self, instance: u64) -> bool {
        self.instance_limit.memory.is_awaited_by(instance)
    }

    /// Of one call.
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

    /// Takes back an instance that has handled so many messages well.
    pub(super) fn give_back_after(
        &self,
        messages: u64,
        has_blameless: bool,
        pooled: Box<PooledInstance>,
    ) {
        self.breaker.succeeded(messages, has_blameless);
        let mut shard = self.idle.own_shard();
        shard.succeeded += messages;
        // Looked at under the lock, under which `rest` clears the shard. One is enough
        // where memory is wanted.
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

    /// Counts an error that a client was answered with.
    pub(super) fn answered_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts messages that were handled well before one that was not.
    pub(super) fn succeeded(&self, messages: u64, has_blameless: bool) {
        self.breaker.succeeded(messages, has_blameless);
        self.idle.own_shard().succeeded += messages;
    }

    /// Counts a fault against the plugin, if it is to blame, in a call of a party.
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
