//! A call's claim to an instance: that it waits, has a permit, or holds an instance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::fair_queue::{QueueKey, WorkKind};
use super::instance_limit::{InstanceHold, InstanceLimit};
use super::owner::CallOwner;

/// The claim of one call to an instance. It waits, then it has an instance; if it is not over at
/// once, it holds the instance until this is dropped.
pub(super) struct InstanceClaim<'a> {
    instance_limit: &'a Arc<InstanceLimit>,
    pub(super) owner: CallOwner,
    kind: WorkKind,
    /// The number of the instance in which the call has begun; 0 before that, or [`HAS_PERMIT`].
    instance: AtomicU64,
    /// The time at which the call began, if it had to wait for that.
    began_late: OnceLock<Instant>,
    hold: Mutex<Option<InstanceHold>>,
}

/// The value of `instance` while the call has a permit and its instance is being made.
const HAS_PERMIT: u64 = u64::MAX;

impl<'a> InstanceClaim<'a> {
    pub(super) fn new(
        instance_limit: &'a Arc<InstanceLimit>,
        owner: CallOwner,
        kind: WorkKind,
    ) -> Self {
        let (instance, began_late, hold) = (AtomicU64::new(0), OnceLock::new(), Mutex::new(None));
        Self { instance_limit, owner, kind, instance, began_late, hold }
    }

    /// The queue in which the call waits.
    pub(super) fn key(&self) -> QueueKey {
        QueueKey { owner: self.owner.number, kind: self.kind }
    }

    /// Whether it is a task, which holds its instance from the start.
    pub(super) fn is_task(&self) -> bool {
        self.kind == WorkKind::Task
    }

    pub(super) fn has_hold(&self) -> bool {
        self.hold().is_some()
    }

    /// Gives the hold up: the call has to wait for an instance.
    pub(super) fn release_hold(&self) {
        let hold = self.hold().take();
        drop(hold);
    }

    /// Notes that the call has a permit for an instance.
    pub(super) fn got_permit(&self) {
        self.instance.store(HAS_PERMIT, Ordering::Relaxed);
    }

    /// Notes that the call begins in the instance of this number.
    pub(super) fn begin(&self, instance: u64) {
        self.instance.store(instance, Ordering::Relaxed);
    }

    /// Notes that the call begins in this instance after it has waited.
    pub(super) fn begin_after_wait(&self, instance: u64) {
        self.begin(instance);
        // It is set only once, as a call begins only once.
        let _ = self.began_late.set(Instant::now());
    }

    /// Whether the call has waited for more than half of `time`, which is over now: it began late,
    /// or still waits.
    pub(super) fn has_waited_most_of(&self, time: Duration) -> bool {
        self.is_waiting() || self.began_late.get().is_some_and(|began| began.elapsed() < time / 2)
    }

    /// Keeps the hold that came with the instance.
    pub(super) fn set_hold(&self, hold: InstanceHold) {
        *self.hold() = Some(hold);
    }

    /// Notes that the call is not over at once: from now on it holds its instance, if it has one.
    pub(super) fn hold_instance(&self) {
        if self.instance.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut hold = self.hold();
        if hold.is_none() {
            *hold = Some(self.instance_limit.hold(self.key()));
        }
    }

    /// Whether the call waits for an instance, or its instance for memory.
    pub(super) fn is_waiting(&self) -> bool {
        match self.instance.load(Ordering::Relaxed) {
            0 | HAS_PERMIT => true,
            instance => self.instance_limit.memory.is_awaited_by(instance),
        }
    }

    fn hold(&self) -> MutexGuard<'_, Option<InstanceHold>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
