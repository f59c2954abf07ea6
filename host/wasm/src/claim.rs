//! What one call has of its plugin's room.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::fair_queue::{QueueKey, WorkKind};
use super::instance_limit::{InstanceHold, InstanceLimit};
use super::owner::CallOwner;

/// A call, as the others see it: it waits, then it has an instance, and if it is not
/// over at once, it holds that until this is dropped.
pub(super) struct InstanceClaim<'a> {
    instance_limit: &'a Arc<InstanceLimit>,
    pub(super) owner: CallOwner,
    kind: WorkKind,
    /// The number of the instance in which it has begun, if it has.
    instance: AtomicU64,
    /// When it began, if it had to wait before.
    began_late: OnceLock<Instant>,
    hold: Mutex<Option<InstanceHold>>,
}

/// It has a seat, and is in no instance yet.
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

    pub(super) fn key(&self) -> QueueKey {
        QueueKey { owner: self.owner.number, kind: self.kind }
    }

    /// A task holds its instance from the start.
    pub(super) fn is_task(&self) -> bool {
        self.kind == WorkKind::Task
    }

    pub(super) fn has_hold(&self) -> bool {
        self.hold().is_some()
    }

    /// It has to wait for an instance after all.
    pub(super) fn release_hold(&self) {
        let hold = self.hold().take();
        drop(hold);
    }

    /// It has a seat for an instance.
    pub(super) fn got_permit(&self) {
        self.instance.store(HAS_PERMIT, Ordering::Relaxed);
    }

    /// It begins in the instance of this number.
    pub(super) fn begin(&self, instance: u64) {
        self.instance.store(instance, Ordering::Relaxed);
    }

    /// The same of one that has waited.
    pub(super) fn begin_after_wait(&self, instance: u64) {
        self.begin(instance);
        // A call begins once.
        let _ = self.began_late.set(Instant::now());
    }

    /// Whether most of a time that is over went by before it began, or it still waits.
    pub(super) fn has_waited_most_of(&self, time: Duration) -> bool {
        self.is_waiting() || self.began_late.get().is_some_and(|began| began.elapsed() < time / 2)
    }

    /// What it was granted with its instance.
    pub(super) fn set_hold(&self, hold: InstanceHold) {
        *self.hold() = Some(hold);
    }

    /// It is not over at once: from now on it holds its instance, if it has one.
    pub(super) fn hold_instance(&self) {
        if self.instance.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut hold = self.hold();
        if hold.is_none() {
            *hold = Some(self.instance_limit.hold(self.key()));
        }
    }

    /// Whether it waits for an instance, or for memory.
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
