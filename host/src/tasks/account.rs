//! What one connection has running and has done wrong.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, error};

use super::apply;
use crate::channel::{Caller, Effect, Late, Progress};
use crate::outbox::Outbox;
use crate::server::Shared;
use crate::telemetry::Metric;
use crate::wasm::{Fault, FaultKind};

/// One connection, as its calls and tasks see it. Tasks keep it alive.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) shared: Arc<Shared>,
    pub(crate) outbox: Arc<Outbox>,
    tasks: AtomicUsize,
    /// Whether it has ever made a fault.
    faulty: AtomicBool,
    faults: Mutex<Faults>,
}

/// One of a connection's tasks; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct TaskSlot(Arc<Account>);

impl Account {
    pub(crate) fn new(shared: Arc<Shared>, outbox: Arc<Outbox>) -> Self {
        let (tasks, faulty) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { shared, outbox, tasks, faulty, faults: Mutex::default() }
    }

    /// Room for a task, within `socket.max_tasks`.
    pub(super) fn task_slot(self: &Arc<Self>) -> Option<TaskSlot> {
        let max = self.shared.socket.max_tasks;
        let one_more = |tasks| (tasks < max).then_some(tasks + 1);
        let taken = self.tasks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| TaskSlot(Arc::clone(self)))
    }

    /// Whether this connection may call plugins; if not, when it is worth
    /// trying again.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        // Almost every connection: no clock is read.
        if !self.faulty.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.faults().admit(self.max_faults(), Instant::now())
    }

    /// Logs and counts what a call of this connection did wrong.
    pub(crate) fn faulted(&self, fault: &Fault, plugin: &str, what: &str, caller: &Caller) {
        let (cause, topic, id) = (fault.kind.as_str(), &caller.context.topic, caller.message());
        match fault.kind {
            // The faults that led to it were errors.
            FaultKind::Held { .. } => {
                debug!(plugin, %id, %topic, cause, "{what} failed: {fault}")
            }
            _ => error!(plugin, %id, %topic, cause, "{what} failed: {fault}"),
        }
        self.shared.metrics.count_of(Metric::WasmFault, &[plugin, cause], 1);
        self.shared.faults.push(fault, plugin, topic);
        if fault.is_plugins() {
            self.add_faults(1);
        }
    }

    /// Counts calls that were given up because their client joined again: each
    /// costs an instance, as a trap does.
    pub(crate) fn cut_off(&self, calls: usize) {
        if calls > 0 {
            self.add_faults(calls);
            self.shared.metrics.count(Metric::CallCutOff, i64::try_from(calls).unwrap_or(i64::MAX));
        }
    }

    /// Hands something to the connection; a counted no-op when it has gone.
    pub(super) fn late(&self, late: Late) {
        if self.outbox.late(late).is_err() {
            self.shared.metrics.count(Metric::LateGone, 1);
        }
    }

    fn add_faults(&self, many: usize) {
        let mut faults = self.faults();
        for _ in 0..many {
            faults.add(self.max_faults(), Instant::now());
        }
        self.faulty.store(true, Ordering::Relaxed);
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn max_faults(&self) -> f64 {
        f64::from(self.shared.socket.max_faults)
    }
}

// === impl Account: flushing ===

impl Progress for Account {
    fn flush(
        self: Arc<Self>,
        caller: Caller,
        effects: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (applied, done) = oneshot::channel();
        match self.outbox.late(Late::Flush { caller, effects, applied }) {
            Ok(()) => Box::pin(async move {
                // An error when the connection ends: then nobody is left to tell.
                let _ = done.await;
            }),
            Err(Late::Flush { caller, effects, .. }) => {
                apply(&self, None, &caller, effects);
                Box::pin(std::future::ready(()))
            }
            Err(_) => Box::pin(std::future::ready(())),
        }
    }

    fn server(&self) -> u64 {
        self.shared.id
    }
}

// === impl TaskSlot ===

impl Drop for TaskSlot {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

// === the faults of a connection ===

/// A leaky bucket of faults: one is forgiven each second.
#[derive(Debug, Default)]
struct Faults {
    level: f64,
    at: Option<Instant>,
}

impl Faults {
    fn level(&self, now: Instant) -> f64 {
        let passed = self.at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        (self.level - passed.as_secs_f64()).max(0.0)
    }

    fn add(&mut self, max: f64, now: Instant) {
        // No more than a few seconds to wait, however many faults at once.
        self.level = (self.level(now) + 1.0).min(max + 5.0);
        self.at = Some(now);
    }

    fn admit(&self, max: f64, now: Instant) -> Result<(), Duration> {
        let excess = self.level(now) - max;
        if excess > 0.0 { Err(Duration::from_secs_f64(excess)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_above_the_bound_are_paid_for_in_seconds() {
        let (mut faults, now) = (Faults::default(), Instant::now());
        for _ in 0..20 {
            faults.add(20.0, now);
        }
        assert_eq!(faults.admit(20.0, now), Ok(()));
        faults.add(20.0, now);
        assert_eq!(faults.admit(20.0, now), Err(Duration::from_secs(1)));
        assert_eq!(faults.admit(20.0, now + Duration::from_secs(1)), Ok(()));
        for _ in 0..1000 {
            faults.add(20.0, now);
        }
        assert_eq!(faults.admit(20.0, now), Err(Duration::from_secs(5)));
    }
}
