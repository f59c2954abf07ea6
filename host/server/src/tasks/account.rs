//! What one connection has running and has done wrong.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_session::Identity;
use millrace_session::channel::{Caller, Deferred, Effect, Progress, Standing};
use millrace_telemetry::{LeakyBucket, Metric, TokenBucket};
use millrace_wasm::{Fault, FaultKind};
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::apply;
use crate::config::SocketConfig;
use crate::node::{Node, Source};
use crate::outbox::{Outbox, Request};

/// One connection, as its calls and tasks see it. Tasks keep it alive.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) node: Arc<Node>,
    pub(crate) outbox: Arc<Outbox>,
    tasks: AtomicUsize,
    /// Whose faults those of this connection count with.
    source: Source,
    /// What its tasks were handed, in bytes.
    task_bytes: AtomicUsize,
    /// Whether it has ever made a fault.
    faulty: AtomicBool,
    /// Begins with those of its source: what a new connection does is not held
    /// against it, but it has no faults left where others had them before.
    faults: Mutex<LeakyBucket>,
    /// What is left of its share of the server's joins.
    joins: Mutex<TokenBucket>,
}

/// The share of `socket.max_joins_per_second` that one connection may have.
const SHARE_OF_JOINS: u32 = 10;

/// One of a connection's tasks; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct TaskSlot {
    account: Arc<Account>,
    /// What the task was handed.
    bytes: usize,
}

impl Account {
    pub(crate) fn new(node: Arc<Node>, outbox: Arc<Outbox>, identity: &Identity) -> Self {
        let (tasks, task_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let faulty = AtomicBool::new(false);
        let now = Instant::now();
        let (address, user_id) = (identity.peer.ip(), identity.user_id.as_deref());
        let source = node.fault_sources.source(address, user_id);
        let max = f64::from(node.socket.max_faults);
        let faults = LeakyBucket::at(node.fault_sources.level(source, now).min(max), now);
        let faults = Mutex::new(faults);
        let joins = Mutex::new(TokenBucket::new(joins_per_second(&node.socket), now));
        Self { node, outbox, tasks, source, task_bytes, faulty, faults, joins }
    }

    /// Whether this connection may join a topic now; if not, when to try again. Its
    /// own share comes first, so that no connection uses up what is everybody's.
    pub(crate) fn join(&self) -> Result<(), Duration> {
        let mut joins = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        joins.take(Instant::now())?;
        drop(joins);
        self.node.admission.join()
    }

    /// What waits outside its channels, in bytes: what its tasks were handed.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.task_bytes.load(Ordering::Relaxed)
    }

    /// How many tasks it has.
    pub(super) fn tasks(&self) -> usize {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Whether tasks of it run.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tasks.load(Ordering::Relaxed) > 0
    }

    /// Room for a task that is handed so many bytes, within `socket.max_tasks`.
    pub(super) fn task_slot(self: &Arc<Self>, bytes: usize) -> Option<TaskSlot> {
        let max = self.node.socket.max_tasks;
        let one_more = |tasks| (tasks < max).then_some(tasks + 1);
        let taken = self.tasks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok()?;
        self.task_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(TaskSlot { account: Arc::clone(self), bytes })
    }

    /// Whether this connection may call plugins; if not, when it is worth
    /// trying again.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        // Almost every connection: no clock is read.
        if !self.faulty.load(Ordering::Relaxed) {
            return Ok(());
        }
        admit(self.faults().level(Instant::now()), self.max_faults())
    }

    /// Logs and counts what a call of this connection did wrong.
    pub(crate) fn faulted(&self, fault: &Fault, plugin: &str, what: &str, caller: &Caller) {
        let (cause, topic, id) = (fault.kind.as_str(), &caller.context.topic, caller.message());
        match fault.kind {
            // The faults that led to it were errors; or it is the others' doing.
            FaultKind::Held { .. } | FaultKind::Overloaded { .. } => {
                debug!(plugin, %id, %topic, cause, "{what} failed: {fault}")
            }
            _ => {
                if let Some(line) = self.node.faults.line(plugin) {
                    let (details, left_out, message) =
                        (fault.details(), line.left_out(), &fault.message);
                    error!(plugin, %id, %topic, cause, left_out, details, "{what} failed: {message}");
                }
            }
        }
        self.node.metrics.count_of(Metric::WasmFault, &[plugin, cause], 1);
        self.node.faults.push(fault, plugin, topic);
        if fault.is_plugins() {
            self.add_faults(1);
        }
    }

    /// Counts calls that were given up because their client joined again: each
    /// costs an instance, as a trap does.
    pub(crate) fn cut_off(&self, calls: usize) {
        if calls > 0 {
            self.add_faults(calls);
            self.node.metrics.count(Metric::CallCutOff, i64::try_from(calls).unwrap_or(i64::MAX));
        }
    }

    /// Hands something to the connection; a counted no-op when it has gone.
    pub(super) fn deferred(&self, deferred: Deferred) {
        if self.outbox.ask(Request::Deferred(deferred)).is_err() {
            self.node.metrics.count(Metric::LateGone, 1);
        }
    }

    fn add_faults(&self, many: usize) {
        let (now, most) = (Instant::now(), self.max_faults() + MOST_ABOVE);
        for _ in 0..many {
            self.faults().add(most, now);
            self.node.fault_sources.add(self.source, most, now);
        }
        self.faulty.store(true, Ordering::Relaxed);
    }

    fn faults(&self) -> MutexGuard<'_, LeakyBucket> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn max_faults(&self) -> f64 {
        f64::from(self.node.socket.max_faults)
    }
}

// === impl Account: its calls ===

impl Progress for Account {
    fn flush(
        self: Arc<Self>,
        caller: Caller,
        effects: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (applied, done) = oneshot::channel();
        match self.outbox.ask(Request::Flush { caller, effects, applied }) {
            Ok(()) => Box::pin(async move {
                // An error when the connection ends: then nobody is left to tell.
                let _ = done.await;
            }),
            Err(Request::Flush { caller, effects, .. }) => {
                apply(&self, None, &caller, effects);
                Box::pin(std::future::ready(()))
            }
            Err(_) => Box::pin(std::future::ready(())),
        }
    }

    fn server(&self) -> u64 {
        self.node.id
    }

    fn standing(&self) -> Standing {
        let has_faulted = self.faulty.load(Ordering::Relaxed);
        Standing { source: self.source.number(), has_faulted }
    }
}

// === impl TaskSlot ===

impl Drop for TaskSlot {
    fn drop(&mut self) {
        let Self { account, bytes } = self;
        account.tasks.fetch_sub(1, Ordering::Relaxed);
        let before = account.task_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        let max = account.node.socket.max_pending_bytes;
        if before > max && before - *bytes <= max {
            // It may be read again.
            account.outbox.nudge();
        }
    }
}

/// Whether faults at a level are too many; if so, for how long.
fn admit(level: f64, max: f64) -> Result<(), Duration> {
    let excess = level - max;
    if excess > 0.0 { Err(Duration::from_secs_f64(excess)) } else { Ok(()) }
}

/// No more than a few seconds to wait, however many faults at once.
const MOST_ABOVE: f64 = 5.0;

/// Of one connection: a share of all, or as many as it may have joined, which a client
/// that comes back joins at once.
fn joins_per_second(config: &SocketConfig) -> f64 {
    let of_all = config.max_joins_per_second;
    let at_once = u32::try_from(config.max_channels).unwrap_or(u32::MAX);
    f64::from((of_all / SHARE_OF_JOINS).max(at_once).min(of_all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_may_join_what_it_had_and_no_more_than_its_share() {
        for (max_joins_per_second, max_channels, expected) in
            [(20_000, 100, 2_000.0), (500, 100, 100.0), (2, 100, 2.0), (0, 100, 0.0)]
        {
            let config = SocketConfig { max_joins_per_second, max_channels, ..Default::default() };
            assert!((joins_per_second(&config) - expected).abs() < 0.5);
        }
    }

    #[test]
    fn faults_above_the_bound_are_paid_for_in_seconds() {
        assert_eq!(admit(20.0, 20.0), Ok(()));
        assert_eq!(admit(21.0, 20.0), Err(Duration::from_secs(1)));
        let (mut faults, now) = (LeakyBucket::default(), Instant::now());
        for _ in 0..1000 {
            faults.add(20.0 + MOST_ABOVE, now);
        }
        assert_eq!(admit(faults.level(now), 20.0), Err(Duration::from_secs(5)));
    }
}
