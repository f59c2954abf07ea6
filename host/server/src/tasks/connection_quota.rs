//! The quota of one connection: its tasks, joins and faults.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytestring::ByteString;
use millrace_session::channel::{Caller, Deferred, Effect, Progress, Standing};
use millrace_session::{Identity, Token};
use millrace_telemetry::{LeakyBucket, Metric, TokenBucket};
use millrace_wasm::{Fault, FaultKind};
use tokio::sync::oneshot;
use tracing::{debug, error};

use super::apply;
use crate::config::SocketConfig;
use crate::node::{Node, Source};
use crate::outbox::{Outbox, Request};

/// The quota of one connection, which its calls and tasks share. Tasks keep it alive.
#[derive(Debug)]
pub(crate) struct ConnectionQuota {
    pub(crate) node: Arc<Node>,
    pub(crate) outbox: Arc<Outbox>,
    tasks: AtomicUsize,
    /// The address and user that faults of this connection are also counted for.
    source: Source,
    /// The bytes that were handed to its running tasks.
    task_bytes: AtomicUsize,
    /// Whether the connection has ever caused a fault.
    faulty: AtomicBool,
    /// The faults of this connection. They start with those of its source: a new connection may
    /// call plugins, but it has no faults left if others of its source have used them up.
    faults: Mutex<LeakyBucket>,
    /// The joins that are left of this connection's share.
    joins: Mutex<TokenBucket>,
    /// The client's token, for its claims.
    token: Option<Arc<Token>>,
}

/// The divisor of `socket.max_joins_per_second` for one connection.
const JOINS_DIVISOR: u32 = 10;

/// One task of a connection; dropping it makes room for another.
#[derive(Debug)]
pub(crate) struct TaskSlot {
    quota: Arc<ConnectionQuota>,
    /// The bytes that the task was handed.
    bytes: usize,
}

impl ConnectionQuota {
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
        let token = identity.token.clone();
        Self { node, outbox, tasks, source, task_bytes, faulty, faults, joins, token }
    }

    /// Takes a join of this connection; the error says after how long to try again. Its own share
    /// is taken first, so that no connection uses up the server's joins.
    pub(crate) fn join(&self) -> Result<(), Duration> {
        let mut joins = self.joins.lock().unwrap_or_else(PoisonError::into_inner);
        joins.take(Instant::now())?;
        drop(joins);
        self.node.admission.join()
    }

    /// The bytes that wait outside of channels: those that were handed to tasks.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.task_bytes.load(Ordering::Relaxed)
    }

    /// The number of running tasks.
    pub(super) fn tasks(&self) -> usize {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Whether tasks are running.
    pub(crate) fn has_tasks(&self) -> bool {
        self.tasks.load(Ordering::Relaxed) > 0
    }

    /// Counts a task that is handed `bytes`; `None` if `socket.max_tasks` are running.
    pub(super) fn task_slot(self: &Arc<Self>, bytes: usize) -> Option<TaskSlot> {
        let max = self.node.socket.max_tasks;
        let one_more = |tasks| (tasks < max).then_some(tasks + 1);
        let taken = self.tasks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok()?;
        self.task_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(TaskSlot { quota: Arc::clone(self), bytes })
    }

    /// Whether this connection may call plugins; the error says after how long to try again.
    pub(crate) fn admit(&self) -> Result<(), Duration> {
        // Almost no connection has a fault, so mostly no clock is read.
        if !self.faulty.load(Ordering::Relaxed) {
            return Ok(());
        }
        admit(self.faults().level(Instant::now()), self.max_faults())
    }

    /// Logs and counts a fault of a call of this connection.
    pub(crate) fn faulted(&self, fault: &Fault, plugin: &str, what: &str, caller: &Caller) {
        let (cause, topic, id) = (fault.kind.as_str(), &caller.context.topic, caller.message());
        match fault.kind {
            // The faults that led to a hold were logged as errors; an overload is not this call's
            // doing.
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

    /// Counts calls that were given up because their client joined again: each costs an instance,
    /// like a trap.
    pub(crate) fn cut_off(&self, calls: usize) {
        if calls > 0 {
            self.add_faults(calls);
            self.node.metrics.count(Metric::CallCutOff, i64::try_from(calls).unwrap_or(i64::MAX));
        }
    }

    /// Hands a message to the connection. If it has gone, that is counted and nothing is sent.
    pub(super) fn deferred(&self, deferred: Deferred) {
        if self.outbox.ask(Request::Deferred(deferred)).is_err() {
            self.node.metrics.count(Metric::LateGone, 1);
        }
    }

    fn add_faults(&self, many: usize) {
        let (now, most) = (Instant::now(), self.max_faults() + MAX_EXCESS_FAULTS);
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

// === impl ConnectionQuota: its calls ===

impl Progress for ConnectionQuota {
    fn flush(
        self: Arc<Self>,
        caller: Caller,
        effects: Vec<Effect>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let (applied, done) = oneshot::channel();
        match self.outbox.ask(Request::Flush { caller, effects, applied }) {
            Ok(()) => Box::pin(async move {
                // An error means that the connection has ended: nobody has to be told then.
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

    fn claims(&self) -> Option<ByteString> {
        self.token.as_ref().map(|token| token.claims.clone())
    }

    fn standing(&self) -> Standing {
        let has_faulted = self.faulty.load(Ordering::Relaxed);
        Standing { source: self.source.number(), has_faulted }
    }
}

// === impl TaskSlot ===

impl Drop for TaskSlot {
    fn drop(&mut self) {
        let Self { quota, bytes } = self;
        quota.tasks.fetch_sub(1, Ordering::Relaxed);
        let before = quota.task_bytes.fetch_sub(*bytes, Ordering::Relaxed);
        let max = quota.node.socket.max_pending_bytes;
        if before > max && before - *bytes <= max {
            // The connection may be read again.
            quota.outbox.nudge();
        }
    }
}

/// Whether a level of faults is allowed; the error says for how long it is not.
fn admit(level: f64, max: f64) -> Result<(), Duration> {
    let excess = level - max;
    if excess > 0.0 { Err(Duration::from_secs_f64(excess)) } else { Ok(()) }
}

/// The faults above the limit that are counted at most, so that a connection waits for a few
/// seconds only (one fault is forgiven per second).
const MAX_EXCESS_FAULTS: f64 = 5.0;

/// The joins per second of one connection: a share of all, but at least `socket.max_channels`,
/// which a client that comes back joins at once.
fn joins_per_second(config: &SocketConfig) -> f64 {
    let of_all = config.max_joins_per_second;
    let at_once = u32::try_from(config.max_channels).unwrap_or(u32::MAX);
    f64::from((of_all / JOINS_DIVISOR).max(at_once).min(of_all))
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
            faults.add(20.0 + MAX_EXCESS_FAULTS, now);
        }
        assert_eq!(admit(faults.level(now), 20.0), Err(Duration::from_secs(5)));
    }
}
