//! A pipeline at work: producers hand events over, and a task for each consumer has
//! them worked on.

mod consume;
mod enqueue;
mod enqueue_error;
mod inbox;
mod reserve;
mod stages;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, Notify};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

pub use enqueue::EnqueueOutcome;
pub use enqueue_error::EnqueueError;
use inbox::Inbox;
use stages::{ConsumerHandle, build_stage, start_dispatcher};

use millrace_session::channel::{ServerEffect, SocketRef};
use millrace_telemetry::{LogLimiter, Metrics, Origin, PipelineMeters, TokenBucket};
use millrace_wire::{Payload, Pointer};

use super::core::{Core, CoreConfig, OnFull, Output, Totals};
use super::dead_letters::DeadLetters;
use super::dispatcher::{DispatchError, Dispatcher, Standby};
use super::event::{ConsumerId, NewEvent, Now};
use super::selector::Selector;
use super::spec::{BufferSpec, DispatcherSpec, PipelineSpec, StageSpec};

/// Where what workers ask for is carried out.
pub trait EffectSink: Debug + Send + Sync {
    /// Applies the effects of a worker, in order. What it broadcasts is for an event
    /// that came about then.
    fn apply(&self, effects: Vec<ServerEffect>, origin: Option<Arc<Origin>>);

    /// Answers whoever waits for an event.
    fn reply(&self, to: SocketRef, status: String, payload: Payload);

    /// An event of a plugin found no room after all.
    fn refused(&self, pipeline: &Pipeline, event: NewEvent);
}

/// A sink that carries nothing out, for pipelines without a server.
#[derive(Debug)]
pub struct NullSink;

impl EffectSink for NullSink {
    fn apply(&self, _: Vec<ServerEffect>, _: Option<Arc<Origin>>) {}

    fn reply(&self, _: SocketRef, _: String, _: Payload) {}

    fn refused(&self, _: &Pipeline, _: NewEvent) {}
}

/// A pipeline.
#[derive(Debug)]
pub struct Pipeline {
    name: Arc<str>,
    buffer: BufferSpec,
    partition_by: Option<Pointer>,
    /// The selectors of a broadcast, by bit.
    selectors: Vec<Option<Arc<Selector>>>,
    /// Whether there is any.
    selects: bool,
    inner: Mutex<Inner>,
    inbox: Inbox,
    stages: Vec<Vec<ConsumerHandle>>,
    started: Instant,
    /// There may be room again for producers that wait.
    room: Notify,
    /// Whose turn it is to wait for room, in the order of their coming.
    room_queue: AsyncMutex<()>,
    /// Nothing is in hand any more.
    idle: Notify,
    dead_letters: Mutex<DeadLetters>,
    sink: OnceLock<Weak<dyn EffectSink>>,
    /// The calls that were not ready at once.
    calls: TaskTracker,
    /// Of the stages, as they are configured or were switched to.
    dispatchers: Mutex<Vec<DispatcherSpec>>,
    meters: PipelineMeters,
    /// Lines about events that were given up, of which one request can cause thousands.
    given_up_log: LogLimiter,
}

/// How many of those are logged in a second; each event is among the dead letters.
const GIVEN_UP_LINES_PER_SECOND: u32 = 10;

/// A pipeline that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the dispatcher {name:?} did not start: {why}")]
pub struct PipelineError {
    name: String,
    why: DispatchError,
}

/// What the lock protects.
#[derive(Debug)]
struct Inner {
    core: Core,
    rate: Option<TokenBucket>,
    /// No more events are taken.
    closed: bool,
}
impl Pipeline {
    /// A pipeline that has not started.
    ///
    /// An error when a dispatcher does not start.
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

    /// The largest payload an event may have.
    pub fn max_event_bytes(&self) -> usize {
        self.buffer.max_event_bytes
    }

    /// Whether a plugin is one of its workers or dispatchers.
    pub fn uses(&self, plugin: &str) -> bool {
        let mut workers = self.stages.iter().flatten().map(|handle| handle.worker.name());
        let dispatchers = self.dispatcher_specs();
        workers.any(|name| name == plugin) || dispatchers.iter().any(|d| d.name() == plugin)
    }

    /// Whether producers are to wait for room.
    pub fn waits(&self) -> bool {
        self.buffer.on_full == OnFull::Wait
    }

    /// The keys with most events in hand, most first, each with its share of them.
    pub fn top_keys(&self, most: usize) -> Vec<(String, f64)> {
        self.lock().core.top_keys(most)
    }

    /// The dispatchers of its stages, by name.
    pub fn dispatchers(&self) -> Vec<String> {
        self.lock().core.dispatchers()
    }

    /// Makes another version of a plugin the dispatcher of the stages that have it.
    /// An error when it does not start: then those stay as they are. The version `before`
    /// takes its place again if it breaks its contract.
    pub fn swap_dispatcher(
        &self,
        before: &Arc<dyn Standby>,
        after: &dyn Standby,
    ) -> Result<(), PipelineError> {
        let plugin = after.name();
        let dispatchers = self.dispatcher_specs().clone();
        for (stage, dispatcher) in dispatchers.into_iter().enumerate() {
            let DispatcherSpec::Plugin(own) = dispatcher else { continue };
            if own.name() != plugin {
                continue;
            }
            let failed = |why| PipelineError { name: plugin.to_owned(), why };
            let started = after.start().map_err(failed)?;
            self.replace_dispatcher(stage, started, Some(Arc::clone(before)));
        }
        Ok(())
    }

    /// Makes another dispatcher that of a stage; nothing is lost meanwhile. An
    /// error when it does not start, or would change who gets an event at all.
    pub fn switch_dispatcher(
        &self,
        stage: usize,
        dispatcher: DispatcherSpec,
    ) -> Result<(), PipelineError> {
        let copies = |spec: &DispatcherSpec| matches!(spec, DispatcherSpec::Broadcast);
        let consumers = self.stages.get(stage).map_or(0, Vec::len);
        let fails = |problem: &str| PipelineError {
            name: dispatcher.name().to_owned(),
            why: DispatchError::Failed(problem.to_owned()),
        };
        let before = self.dispatcher_specs().get(stage).cloned();
        let before = before.ok_or_else(|| fails("there is no such stage"))?;
        if copies(&before) != copies(&dispatcher) {
            return Err(fails("broadcast can only be chosen in millrace.toml"));
        }
        let started = start_dispatcher(&dispatcher, consumers)?;
        self.replace_dispatcher(stage, started, None);
        if let Some(spec) = self.dispatcher_specs().get_mut(stage) {
            *spec = dispatcher;
        }
        Ok(())
    }

    fn replace_dispatcher(
        &self,
        stage: usize,
        dispatcher: Box<dyn Dispatcher>,
        standby: Option<Arc<dyn Standby>>,
    ) {
        let mut pending = Pending::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            inner.core.replace_dispatcher(stage, dispatcher, standby, now);
            pending.take(&mut inner.core);
        }
        self.deliver(&mut pending, None);
    }

    fn dispatcher_specs(&self) -> MutexGuard<'_, Vec<DispatcherSpec>> {
        self.dispatchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles dead letters from the first stage on: those with these numbers, or
    /// all; how many, and how many found no room and stay.
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

    /// What has come of its events.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.lock().core.totals()
    }

    /// Starts its consumers.
    pub fn start(self: &Arc<Self>, sink: Weak<dyn EffectSink>) {
        // Started once.
        let _ = self.sink.set(sink);
        for (stage, handles) in self.stages.iter().enumerate() {
            for consumer in (0_u32..).take(handles.len()).map(ConsumerId) {
                tokio::spawn(Arc::clone(self).consume(stage, consumer));
            }
        }
        if let Some(every) = self.lock().core.renew_every() {
            tokio::spawn(Arc::clone(self).keep_leases(every));
        }
    }

    /// Tells a storage that outlives the server what is in hand, and takes up what
    /// nobody has.
    async fn keep_leases(self: Arc<Self>, every: Duration) {
        let mut ticks = tokio::time::interval(every);
        let mut pending = Pending::default();
        loop {
            ticks.tick().await;
            {
                let mut inner = self.lock();
                let now = self.now();
                inner.core.renew_leases(now);
                pending.take(&mut inner.core);
            }
            self.deliver(&mut pending, None);
        }
    }
    /// Whether nothing is in hand.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().core.is_empty()
    }

    /// Waits until nothing is in hand.
    pub async fn emptied(&self) {
        loop {
            let idle = self.idle.notified();
            if self.is_empty() {
                return;
            }
            idle.await;
        }
    }

    /// Takes no more events, and drops those that wait.
    pub fn abandon(&self) {
        let mut pending = Pending::default();
        {
            let mut inner = self.lock();
            inner.closed = true;
            let now = self.now();
            inner.core.abandon(now);
            pending.take(&mut inner.core);
        }
        self.deliver(&mut pending, None);
    }

    /// Takes no more events.
    pub fn close(&self) {
        self.lock().closed = true;
        self.room.notify_waiters();
    }

    /// Its dead letters.
    pub fn dead_letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// What is wrong with a payload of so many bytes.
    pub fn too_large(&self, bytes: usize) -> String {
        let allowed = self.buffer.max_event_bytes;
        format!("{bytes} bytes, allowed are {allowed} (buffer.max_event_bytes)")
    }

    fn handle(&self, stage: usize, consumer: ConsumerId) -> Option<&ConsumerHandle> {
        self.stages.get(stage)?.get(consumer.index())
    }

    /// Wakes who can go on but `own`, and tells who has to know; not under the
    /// lock.
    fn deliver(&self, pending: &mut Pending, own: Option<(usize, ConsumerId)>) {
        for (stage, consumer) in pending.woken.drain(..) {
            if let Some(handle) =
                self.handle(stage, consumer).filter(|_| own != Some((stage, consumer)))
            {
                handle.woken.notify_one();
            }
        }
        if pending.has_room {
            self.room.notify_waiters();
        }
        if pending.is_empty {
            self.idle.notify_waiters();
        }
        for output in pending.outputs.drain(..) {
            self.deliver_one(output);
        }
        if !pending.refused.is_empty()
            && let Some(sink) = self.sink.get().and_then(Weak::upgrade)
        {
            pending.refused.drain(..).for_each(|event| sink.refused(self, event));
        }
    }

    fn deliver_one(&self, output: Output) {
        let pipeline = &*self.name;
        match output {
            Output::Dead(dead) => {
                if let Some(line) = self.given_up_log.pass() {
                    warn!(
                        pipeline,
                        key = dead.key.as_deref(),
                        attempts = dead.attempts,
                        reason = dead.reason,
                        left_out = line.left_out(),
                        "an event was given up"
                    );
                }
                self.dead_letters().push(dead);
            }
            Output::Reply { to, status, payload } => {
                if let Some(sink) = self.sink.get().and_then(Weak::upgrade) {
                    sink.reply(*to, status, payload);
                }
            }
            Output::Dropped { key, reason } => {
                debug!(pipeline, key = key.as_deref(), %reason, "an event was dropped");
            }
            Output::Replaced { stage, dispatcher, why } => {
                self.meters.replaced.add(1);
                error!(pipeline, stage, dispatcher, "the dispatcher was replaced: {why}");
            }
        }
    }

    fn now(&self) -> Now {
        Now(u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}

/// What the core wants done after the lock is released.
#[derive(Debug, Default)]
struct Pending {
    woken: Vec<(usize, ConsumerId)>,
    outputs: Vec<Output>,
    /// Of producers that are told later.
    refused: Vec<NewEvent>,
    has_room: bool,
    is_empty: bool,
}

impl Pending {
    fn take(&mut self, core: &mut Core) {
        core.take_woken(&mut self.woken);
        core.take_outputs(&mut self.outputs);
        self.has_room = core.has_wanted_room();
        self.is_empty = core.is_empty();
    }
}
