//! A pipeline at work: producers enqueue events, and a task for each consumer has a worker
//! handle them.

mod consume;
mod deliver;
mod dispatchers;
mod enqueue;
mod enqueue_error;
mod inbox;
mod lifecycle;
mod reserve;
mod sink;
mod stages;
#[cfg(test)]
mod test_pipeline;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use deliver::Pending;
pub use dispatchers::PipelineError;
pub use enqueue::EnqueueOutcome;
pub use enqueue_error::EnqueueError;
use inbox::Inbox;
pub use sink::{EffectSink, NullSink};
use stages::{ConsumerHandle, build_stage};

use millrace_telemetry::{LogLimiter, Metrics, PipelineMeters, TokenBucket};
use millrace_wire::Pointer;

use super::core::{Core, CoreConfig, OnFull, Totals};
use super::dead_letters::DeadLetters;
use super::event::{Now, StageConsumer};
use super::selector::Selector;
use super::spec::{BufferSpec, DispatcherSpec, PipelineSpec, StageSpec};

/// A pipeline: producers enqueue events ([`Self::enqueue`], [`Self::enqueue_all`],
/// [`Self::post`]), and [`Self::start`] starts the consumers.
#[derive(Debug)]
pub struct Pipeline {
    name: Arc<str>,
    buffer: BufferSpec,
    /// The place of the key in an event's JSON.
    partition_by: Option<Pointer>,
    /// The selectors of a broadcast's workers, by bit; `None` for a worker that gets all events.
    selectors: Vec<Option<Arc<Selector>>>,
    /// Whether one of `selectors` is not `None`.
    selects: bool,
    inner: Mutex<Inner>,
    inbox: Inbox,
    /// The consumers of each stage, by number.
    stages: Vec<Vec<ConsumerHandle>>,
    /// The zero of the pipeline's clock.
    started: Instant,
    /// Notified when there may be room again for producers that wait.
    room: Notify,
    /// Held by the producer whose turn it is to wait for room; the others queue up for it in the
    /// order in which they came.
    room_queue: AsyncMutex<()>,
    /// Notified when no event is in hand any more.
    idle: Notify,
    dead_letters: Mutex<DeadLetters>,
    sink: OnceLock<Weak<dyn EffectSink>>,
    /// The calls that were not ready at their first poll.
    calls: TaskTracker,
    /// The dispatchers of the stages, as configured or switched to.
    dispatchers: Mutex<Vec<DispatcherSpec>>,
    meters: PipelineMeters,
    /// Limits the log lines about events that were given up: one request can cause thousands.
    given_up_log: LogLimiter,
}

/// The log lines about events that were given up, per second. Each of those events is among the
/// dead letters anyway.
const GIVEN_UP_LINES_PER_SECOND: u32 = 10;

/// The state of a pipeline that the lock protects.
#[derive(Debug)]
struct Inner {
    core: Core,
    /// The events that may start now (`rate_per_second`).
    rate: Option<TokenBucket>,
    /// Whether events are refused, as the server stops.
    closed: bool,
}

impl Pipeline {
    /// Makes a pipeline whose consumers have not started. `random` seeds the jitter of retries.
    ///
    /// # Errors
    ///
    /// When a dispatcher does not start.
    pub fn new(spec: PipelineSpec, random: u64, metrics: &Metrics) -> Result<Self, PipelineError> {
        let config = CoreConfig {
            size: spec.buffer.size,
            max_bytes: spec.buffer.max_bytes,
            max_per_key: spec.buffer.max_per_key,
            on_full: spec.buffer.on_full,
            retry: spec.retry,
            deadline: spec.deadline,
            ordered: spec.ordered,
            keep_dropped: spec.keep_dropped,
        };
        let (mut stages, mut handles, mut selectors) = (Vec::new(), Vec::new(), Vec::new());
        let mut dispatchers = Vec::new();
        for stage in spec.stages {
            let StageSpec { dispatcher, workers } = stage;
            if matches!(dispatcher, DispatcherSpec::Broadcast) {
                selectors = workers.iter().map(|worker| worker.selector.clone()).collect();
            }
            let (config, stage_handles) = build_stage(&dispatcher, workers)?;
            dispatchers.push(dispatcher);
            stages.push(config);
            handles.push(stage_handles);
        }
        let started = Instant::now();
        let rate =
            spec.rate_per_second.map(|rate| TokenBucket::new(rate.into(), started.into_std()));
        Ok(Self {
            meters: PipelineMeters::new(metrics, &spec.name),
            name: spec.name.into(),
            buffer: spec.buffer,
            partition_by: spec.partition_by,
            selects: selectors.iter().any(Option::is_some),
            selectors,
            inner: Mutex::new(Inner {
                core: Core::new(config, stages, random),
                rate,
                closed: false,
            }),
            inbox: Inbox::default(),
            stages: handles,
            started,
            room: Notify::new(),
            room_queue: AsyncMutex::new(()),
            idle: Notify::new(),
            dead_letters: Mutex::new(DeadLetters::new(spec.dead_letters)),
            sink: OnceLock::new(),
            calls: TaskTracker::new(),
            dispatchers: Mutex::new(dispatchers),
            given_up_log: LogLimiter::per_second(GIVEN_UP_LINES_PER_SECOND),
        })
    }

    /// The name in `millrace.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The largest payload of an event, in bytes. A larger event is refused.
    pub fn max_event_bytes(&self) -> usize {
        self.buffer.max_event_bytes
    }

    /// The message about a payload of `bytes` bytes that is larger than
    /// [`Self::max_event_bytes`].
    pub fn too_large(&self, bytes: usize) -> String {
        let allowed = self.buffer.max_event_bytes;
        format!("{bytes} bytes, allowed are {allowed} (buffer.max_event_bytes)")
    }

    /// Whether producers that find the buffer full are to wait for room ([`OnFull::Wait`]).
    pub fn waits(&self) -> bool {
        self.buffer.on_full == OnFull::Wait
    }

    /// Whether the plugin is one of its workers or dispatchers.
    pub fn uses(&self, plugin: &str) -> bool {
        let mut workers = self.stages.iter().flatten().map(|handle| handle.worker.name());
        let dispatchers = self.dispatcher_specs();
        workers.any(|name| name == plugin) || dispatchers.iter().any(|d| d.name() == plugin)
    }

    /// The counts of its events.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().core.totals()
    }

    /// The `most` keys with most events in hand, most first, each with its share (0 to 1) of
    /// the events in hand.
    pub fn top_keys(&self, most: usize) -> Vec<(String, f64)> {
        self.lock().core.top_keys(most)
    }

    /// The events that were given up, to look at or purge. They stay locked until the guard is
    /// dropped, and a consumer that gives an event up waits for that.
    pub fn dead_letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enqueues dead letters again, at the first stage: those with these numbers, or all.
    /// Returns how many were enqueued, and how many found no room and stay dead letters.
    pub fn replay(&self, numbers: Option<&[u64]>) -> (usize, usize) {
        let letters = self.dead_letters().take(numbers);
        let mut refused = Vec::new();
        let mut replayed = 0;
        for letter in letters {
            match self.enqueue(vec![letter.event()]).accepted {
                0 => refused.push(letter),
                _ => replayed += 1,
            }
        }
        let stay = refused.len();
        self.dead_letters().put_back(refused);
        (replayed, stay)
    }

    fn handle(&self, consumer: StageConsumer) -> Option<&ConsumerHandle> {
        self.stages.get(consumer.stage)?.get(consumer.id.index())
    }

    /// The time on the pipeline's clock.
    fn now(&self) -> Now {
        Now(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
