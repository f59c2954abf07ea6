//! A pipeline at work: a task for each consumer.

use std::fmt::Debug;
use std::iter::Enumerate;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;
use std::vec;

use tokio::sync::Notify;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::ReusableBoxFuture;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use super::consumer::ConsumerConfig;
use super::core::{
    Batch, CallEnd, Core, CoreConfig, Next, OnFull, Output, Refused, StageConfig, Totals,
};
use super::dead_letters::DeadLetters;
use super::dispatcher::{
    BroadcastDispatcher, Broken, DemandDispatcher, Dispatcher, PartitionDispatcher, Standby,
    Subscription,
};
use super::event::{ConsumerId, NewEvent, Now, Verdict};
use super::selector::{Selector, text_at};
use super::spec::{DispatcherSpec, PipelineSpec, StageSpec, WorkerSpec};
use super::storage::{Safe, StorageError};
use super::worker::{Worked, Worker};
use crate::bucket::Bucket;
use crate::channel::{Effect, SocketRef};
use crate::telemetry::{Metrics, Origin, PipelineMeters};
use crate::wasm::{Component, Fault, GuestDispatcher, GuestStandby, StageName};
use crate::wire::Payload;

/// Where what workers ask for is carried out.
pub trait Surroundings: Debug + Send + Sync {
    /// Applies the effects of a worker, in order. What it broadcasts is for an event
    /// that came about then.
    fn apply(&self, effects: Vec<Effect>, origin: Option<Arc<Origin>>);

    /// Answers whoever waits for an event.
    fn reply(&self, to: SocketRef, status: String, payload: Payload);

    /// A worker's call came to nothing.
    fn faulted(&self, fault: &Fault, plugin: &str, pipeline: &str);
}

/// Surroundings that are not there: what workers ask for comes to nothing.
#[derive(Debug)]
pub struct Nowhere;

impl Surroundings for Nowhere {
    fn apply(&self, _: Vec<Effect>, _: Option<Arc<Origin>>) {}

    fn reply(&self, _: SocketRef, _: String, _: Payload) {}

    fn faulted(&self, _: &Fault, _: &str, _: &str) {}
}

/// A pipeline.
#[derive(Debug)]
pub struct Pipeline {
    name: String,
    max_event_bytes: usize,
    partition_by: Option<String>,
    /// The selectors of a broadcast, by bit.
    selectors: Vec<Option<Arc<Selector>>>,
    /// Whether there is any.
    selects: bool,
    inner: Mutex<Inner>,
    stages: Vec<Vec<Seat>>,
    started: Instant,
    /// There may be room again for producers that wait.
    room: Notify,
    /// Nothing is in hand any more.
    idle: Notify,
    dead_letters: Mutex<DeadLetters>,
    surroundings: OnceLock<Weak<dyn Surroundings>>,
    /// The calls that were not ready at once.
    calls: TaskTracker,
    /// Of the stages, as they are configured or were switched to.
    dispatchers: Mutex<Vec<DispatcherSpec>>,
    meters: PipelineMeters,
}

/// A pipeline that cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("the dispatcher {name:?} did not start: {why}")]
pub struct PipelineError {
    name: String,
    why: Broken,
}

/// What the lock protects.
#[derive(Debug)]
struct Inner {
    core: Core,
    rate: Option<Bucket>,
    /// No more events are taken.
    closed: bool,
}

/// Where a consumer's task is woken, and whom it calls.
#[derive(Debug)]
struct Seat {
    worker: Worker,
    timeout: Duration,
    woken: Notify,
}

/// What became of events that were handed over.
#[derive(Default)]
pub struct Handover {
    /// Those that found room.
    pub accepted: usize,
    /// Those that found no room, by their place.
    pub refused: Vec<(usize, NewEvent)>,
    /// Ready when those accepted are safe; `None` when they are.
    safe: Option<Safe>,
}

impl Debug for Handover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { accepted, refused, .. } = self;
        let mut told = f.debug_struct("Handover");
        told.field("accepted", accepted).field("refused", refused).finish_non_exhaustive()
    }
}

impl Handover {
    /// Waits until what was accepted is safe, as far as the pipeline's storage makes
    /// it so; a producer is told no earlier.
    pub(crate) async fn safe(&mut self) -> Result<(), StorageError> {
        match self.safe.take() {
            Some(safe) => safe.await,
            None => Ok(()),
        }
    }
}

type Calling = ReusableBoxFuture<'static, (Batch, Worked)>;

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
        let (mut stages, mut seats, mut selectors) = (Vec::new(), Vec::new(), Vec::new());
        let mut dispatchers = Vec::new();
        for stage in spec.stages {
            let StageSpec { dispatcher, workers } = stage;
            if matches!(dispatcher, DispatcherSpec::Broadcast) {
                selectors = workers.iter().map(|worker| worker.selector.clone()).collect();
            }
            let (config, seated) = staged(&dispatcher, workers)?;
            dispatchers.push(dispatcher);
            stages.push(config);
            seats.push(seated);
        }
        let started = Instant::now();
        let rate = spec.rate_per_second.map(|rate| Bucket::new(rate.into(), started.into_std()));
        Ok(Self {
            meters: PipelineMeters::new(metrics, &spec.name),
            name: spec.name,
            max_event_bytes: spec.buffer.max_event_bytes,
            partition_by: spec.partition_by,
            selects: selectors.iter().any(Option::is_some),
            selectors,
            inner: Mutex::new(Inner {
                core: Core::new(config, stages, random),
                rate,
                closed: false,
            }),
            stages: seats,
            started,
            room: Notify::new(),
            idle: Notify::new(),
            dead_letters: Mutex::new(DeadLetters::new(spec.dead_letters)),
            surroundings: OnceLock::new(),
            calls: TaskTracker::new(),
            dispatchers: Mutex::new(dispatchers),
        })
    }

    /// The name in `millrace.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The largest payload an event may have.
    pub(crate) fn max_event_bytes(&self) -> usize {
        self.max_event_bytes
    }

    /// Whether a plugin is one of its workers or dispatchers.
    pub(crate) fn uses(&self, plugin: &str) -> bool {
        let mut workers = self.stages.iter().flatten().map(|seat| seat.worker.name());
        let dispatchers = self.dispatcher_specs();
        workers.any(|name| name == plugin) || dispatchers.iter().any(|d| d.name() == plugin)
    }

    /// Whether producers are to wait for room.
    pub(crate) fn waits(&self) -> bool {
        self.lock().core.on_full() == OnFull::Wait
    }

    /// The keys with most events in hand, most first, each with its share of them.
    pub(crate) fn top_keys(&self, most: usize) -> Vec<(String, f64)> {
        self.lock().core.top_keys(most)
    }

    /// The dispatchers of its stages, by name.
    pub(crate) fn dispatchers(&self) -> Vec<String> {
        self.lock().core.dispatchers()
    }

    /// Makes another version of a plugin the dispatcher of the stages that have it.
    /// An error when it does not start: then those stay as they are.
    pub(crate) fn swap_dispatcher(
        &self,
        plugin: &str,
        before: &Component,
        after: &Component,
    ) -> Result<(), PipelineError> {
        let dispatchers = self.dispatcher_specs().clone();
        for (stage, dispatcher) in dispatchers.into_iter().enumerate() {
            let DispatcherSpec::Plugin(own) = dispatcher else { continue };
            if own.name() != plugin {
                continue;
            }
            let failed = |why| PipelineError { name: plugin.to_owned(), why };
            let started = Box::new(GuestDispatcher::new(after).map_err(failed)?);
            self.replace_dispatcher(stage, started, Some(Arc::new(GuestStandby(before.clone()))));
        }
        Ok(())
    }

    /// Makes another dispatcher that of a stage; nothing is lost meanwhile. An
    /// error when it does not start, or would change who gets an event at all.
    pub(crate) fn switch_dispatcher(
        &self,
        stage: usize,
        dispatcher: DispatcherSpec,
    ) -> Result<(), PipelineError> {
        let copies = |spec: &DispatcherSpec| matches!(spec, DispatcherSpec::Broadcast);
        let consumers = self.stages.get(stage).map_or(0, Vec::len);
        let fails = |problem: &str| PipelineError {
            name: dispatcher.name().to_owned(),
            why: Broken::Failed(problem.to_owned()),
        };
        let before = self.dispatcher_specs().get(stage).cloned();
        let before = before.ok_or_else(|| fails("there is no such stage"))?;
        if copies(&before) != copies(&dispatcher) {
            return Err(fails("broadcast can only be chosen in millrace.toml"));
        }
        let started = started(&dispatcher, consumers)?;
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
        let mut aftermath = Aftermath::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            inner.core.replace_dispatcher(stage, dispatcher, standby, now);
            aftermath.take(&mut inner.core);
        }
        self.see_to(&mut aftermath, None);
    }

    fn dispatcher_specs(&self) -> MutexGuard<'_, Vec<DispatcherSpec>> {
        self.dispatchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles dead letters from the first stage on: those with these numbers, or
    /// all; how many, and how many found no room and stay.
    pub(crate) fn replay(&self, numbers: Option<&[u64]>) -> (usize, usize) {
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
    pub fn start(self: &Arc<Self>, surroundings: Weak<dyn Surroundings>) {
        // Started once.
        let _ = self.surroundings.set(surroundings);
        for (stage, seats) in self.stages.iter().enumerate() {
            for consumer in (0_u32..).take(seats.len()).map(ConsumerId) {
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
        let mut aftermath = Aftermath::default();
        loop {
            ticks.tick().await;
            {
                let mut inner = self.lock();
                let now = self.now();
                inner.core.renew_leases(now);
                aftermath.take(&mut inner.core);
            }
            self.see_to(&mut aftermath, None);
        }
    }

    /// Hands events over. Those that find no room, or are too large, come back.
    pub fn enqueue(&self, mut events: Vec<NewEvent>) -> Handover {
        self.look_into(&mut events);
        let mut handover = Handover::default();
        let mut aftermath = Aftermath::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            for (place, event) in events.into_iter().enumerate() {
                let result = if inner.closed {
                    Err(Refused(event))
                } else if event.payload.len() > self.max_event_bytes {
                    inner.core.rejected();
                    Err(Refused(event))
                } else {
                    inner.core.accept(event, now)
                };
                match result {
                    Ok(()) => handover.accepted += 1,
                    Err(Refused(event)) => handover.refused.push((place, event)),
                }
            }
            inner.core.accepted(now);
            handover.safe = inner.core.safe();
            aftermath.take(&mut inner.core);
        }
        self.see_to(&mut aftermath, None);
        handover
    }

    /// The same, but events that find no room wait for it, no longer than
    /// `patience`. One whose key has its share is refused at once.
    pub async fn enqueue_patiently(
        &self,
        mut events: Vec<NewEvent>,
        patience: Duration,
    ) -> Handover {
        self.look_into(&mut events);
        let until = Instant::now() + patience;
        let mut waiting = events.into_iter().enumerate();
        let mut handover = Handover::default();
        loop {
            let room = self.room.notified();
            let closed = self.accept_some(&mut waiting, &mut handover);
            if waiting.len() == 0 || closed {
                break;
            }
            if tokio::time::timeout_at(until, room).await.is_err() {
                self.accept_some(&mut waiting, &mut handover);
                break;
            }
        }
        handover.refused.extend(waiting);
        handover
    }

    /// Hands over what there is room for; true when no more is taken at all.
    fn accept_some(
        &self,
        waiting: &mut Enumerate<vec::IntoIter<NewEvent>>,
        handover: &mut Handover,
    ) -> bool {
        let mut aftermath = Aftermath::default();
        let closed = {
            let mut inner = self.lock();
            let now = self.now();
            while !inner.closed
                && !inner.core.is_full()
                && let Some((place, event)) = waiting.next()
            {
                match inner.core.accept(event, now) {
                    Ok(()) => handover.accepted += 1,
                    Err(Refused(event)) => handover.refused.push((place, event)),
                }
            }
            inner.core.accepted(now);
            if waiting.len() > 0 {
                inner.core.want_room(waiting.len());
            }
            handover.safe = inner.core.safe();
            aftermath.take(&mut inner.core);
            inner.closed
        };
        self.see_to(&mut aftermath, None);
        closed
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
    pub(crate) fn abandon(&self) {
        let mut aftermath = Aftermath::default();
        {
            let mut inner = self.lock();
            inner.closed = true;
            let now = self.now();
            inner.core.abandon(now);
            aftermath.take(&mut inner.core);
        }
        self.see_to(&mut aftermath, None);
    }

    /// Takes no more events.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.notify_waiters();
    }

    /// Its dead letters.
    pub(crate) fn dead_letters(&self) -> MutexGuard<'_, DeadLetters> {
        self.dead_letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds the keys and the selections of events in their JSON.
    fn look_into(&self, events: &mut [NewEvent]) {
        if self.partition_by.is_some() || self.selects {
            events.iter_mut().for_each(|event| self.look_into_one(event));
        }
    }

    fn look_into_one(&self, event: &mut NewEvent) {
        let pointer = self.partition_by.as_ref().filter(|_| event.key.is_none());
        if pointer.is_none() && !self.selects {
            return;
        }
        // What is no JSON has no key, and is selected by those that want all.
        let json = serde_json::from_slice(&event.payload).unwrap_or_default();
        if let Some(pointer) = pointer {
            event.key = text_at(&json, pointer);
        }
        if self.selects {
            let wants = |selector: &Option<Arc<Selector>>| {
                selector.as_ref().is_none_or(|selector| selector.selects(&json))
            };
            let bits = self.selectors.iter().enumerate().filter(|(_, selector)| wants(selector));
            event.selected = Some(bits.fold(0, |selected, (bit, _)| selected | 1 << bit));
        }
    }

    /// One consumer, for as long as the server runs.
    async fn consume(self: Arc<Self>, stage: usize, consumer: ConsumerId) {
        let Some(seat) = self.seat(stage, consumer) else { return };
        let mut calling: Calling = ReusableBoxFuture::new(std::future::pending());
        let (mut batch, mut ended) = (Batch::default(), None);
        let mut aftermath = Aftermath::default();
        loop {
            // A busy pipeline lets others run.
            consume_budget().await;
            match self.step(stage, consumer, ended.take(), &mut batch, &mut aftermath) {
                Next::Call => {
                    let this = Arc::clone(&self);
                    calling.set(this.call(stage, consumer, std::mem::take(&mut batch)));
                    match std::future::poll_fn(|cx| Poll::Ready(calling.poll(cx))).await {
                        Poll::Ready((worked_on, worked)) => {
                            batch = worked_on;
                            ended = Some(self.carry_out(seat, &batch, worked));
                        }
                        Poll::Pending => {
                            let empty = ReusableBoxFuture::new(std::future::pending());
                            let calling = std::mem::replace(&mut calling, empty);
                            self.calls.spawn(Arc::clone(&self).wait(stage, consumer, calling));
                        }
                    }
                }
                Next::Wait(None) => seat.woken.notified().await,
                Next::Wait(Some(until)) => {
                    let until = self.started + Duration::from_nanos(until);
                    tokio::select! {
                        () = seat.woken.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Takes how the call with `batch` ended, if one did, and fills `batch` with
    /// what the next one is to work on.
    fn step(
        &self,
        stage: usize,
        consumer: ConsumerId,
        ended: Option<CallEnd>,
        batch: &mut Batch,
        aftermath: &mut Aftermath,
    ) -> Next {
        let next = {
            let mut inner = self.lock();
            let now = self.now();
            if let Some(ended) = ended {
                inner.core.finish(stage, consumer, &batch.deliveries, ended, now);
            }
            batch.clear();
            let at = self.started.into_std() + Duration::from_nanos(now.0);
            // What is transformed has not started yet.
            let is_last = stage + 1 == self.stages.len();
            let rate = inner.rate.as_mut().filter(|_| is_last);
            let allowed = rate.map_or(usize::MAX, |rate| rate.available(at));
            let mut next = inner.core.take(stage, consumer, allowed, now, batch);
            if let Some(rate) = inner.rate.as_mut().filter(|_| is_last) {
                rate.spend(batch.len() as f64, at);
                if let Next::Wait(until) = next
                    && allowed == 0
                {
                    let wait = u64::try_from(rate.until_next(at).as_nanos()).unwrap_or(u64::MAX);
                    let paid = now.0.saturating_add(wait);
                    next = Next::Wait(Some(until.map_or(paid, |until| until.min(paid))));
                }
            }
            aftermath.take(&mut inner.core);
            if self.meters.is_on() && is_last {
                batch.waits_ns.iter().for_each(|wait| self.meters.waited(*wait));
            }
            next
        };
        // It is about to look for more itself, or will be once its call has ended.
        let own = (next == Next::Call).then_some((stage, consumer));
        self.see_to(aftermath, own);
        next
    }

    async fn call(
        self: Arc<Self>,
        stage: usize,
        consumer: ConsumerId,
        batch: Batch,
    ) -> (Batch, Worked) {
        let Some(seat) = self.seat(stage, consumer) else { return std::future::pending().await };
        let at = StageName { pipeline: &self.name, stage: stage as u32 };
        let worked = seat.worker.work(at, &batch, seat.timeout).await;
        (batch, worked)
    }

    /// For a call that was not ready at once.
    async fn wait(self: Arc<Self>, stage: usize, consumer: ConsumerId, calling: Calling) {
        let (batch, worked) = calling.await;
        let Some(seat) = self.seat(stage, consumer) else { return };
        let ended = self.carry_out(seat, &batch, worked);
        let mut aftermath = Aftermath::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            inner.core.finish(stage, consumer, &batch.deliveries, ended, now);
            aftermath.take(&mut inner.core);
        }
        self.see_to(&mut aftermath, None);
    }

    /// Carries out what a worker asked for.
    fn carry_out(&self, seat: &Seat, batch: &Batch, worked: Worked) -> CallEnd {
        let Worked { mut end, effects, fault, took } = worked;
        if let CallEnd::Answered(verdicts) = &mut end {
            verdicts.iter_mut().for_each(|(_, verdict)| self.bound(verdict));
        }
        if self.meters.is_on() {
            self.meters.ran(took);
        }
        if fault.is_none() && effects.is_empty() {
            return end;
        }
        if let Some(surroundings) = self.surroundings.get().and_then(Weak::upgrade) {
            if let Some(fault) = &fault {
                surroundings.faulted(fault, seat.worker.name(), &self.name);
            }
            let oldest = batch.rows.iter().map(|[.., stamped_ms]| *stamped_ms).min();
            let oldest = oldest.filter(|_| self.meters.is_on() && !effects.is_empty());
            surroundings.apply(effects, oldest.map(|stamped_ms| self.meters.origin(stamped_ms)));
        }
        end
    }

    /// What a transform forwards is bounded like what comes in.
    fn bound(&self, verdict: &mut Verdict) {
        if let Verdict::Forward(payload) = verdict
            && payload.len() > self.max_event_bytes
        {
            let reason = format!("forwarded {}", self.too_large(payload.len()));
            *verdict = Verdict::Fail { reason };
        }
    }

    /// What is wrong with a payload of so many bytes.
    pub(crate) fn too_large(&self, bytes: usize) -> String {
        let allowed = self.max_event_bytes;
        format!("{bytes} bytes, allowed are {allowed} (buffer.max_event_bytes)")
    }

    fn seat(&self, stage: usize, consumer: ConsumerId) -> Option<&Seat> {
        self.stages.get(stage)?.get(consumer.index())
    }

    /// Wakes who can go on but `own`, and tells who has to know; not under the
    /// lock.
    fn see_to(&self, aftermath: &mut Aftermath, own: Option<(usize, ConsumerId)>) {
        for (stage, consumer) in aftermath.woken.drain(..) {
            if let Some(seat) =
                self.seat(stage, consumer).filter(|_| own != Some((stage, consumer)))
            {
                seat.woken.notify_one();
            }
        }
        if aftermath.has_room {
            self.room.notify_waiters();
        }
        if aftermath.is_empty {
            self.idle.notify_waiters();
        }
        for output in aftermath.outputs.drain(..) {
            self.see_to_one(output);
        }
    }

    fn see_to_one(&self, output: Output) {
        let pipeline = self.name.as_str();
        match output {
            Output::Dead(dead) => {
                warn!(
                    pipeline,
                    key = dead.key.as_deref(),
                    attempts = dead.attempts,
                    reason = dead.reason,
                    "an event was given up"
                );
                self.dead_letters().push(dead);
            }
            Output::Reply { to, status, payload } => {
                if let Some(surroundings) = self.surroundings.get().and_then(Weak::upgrade) {
                    surroundings.reply(*to, status, payload);
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

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the core wants done after the lock is released.
#[derive(Debug, Default)]
struct Aftermath {
    woken: Vec<(usize, ConsumerId)>,
    outputs: Vec<Output>,
    has_room: bool,
    is_empty: bool,
}

impl Aftermath {
    fn take(&mut self, core: &mut Core) {
        core.take_woken(&mut self.woken);
        core.take_outputs(&mut self.outputs);
        self.has_room = core.has_wanted_room();
        self.is_empty = core.is_empty();
    }
}

/// A stage as the core has it, and where its consumers' tasks sit.
fn staged(
    dispatcher: &DispatcherSpec,
    workers: Vec<WorkerSpec>,
) -> Result<(StageConfig, Vec<Seat>), PipelineError> {
    let (mut consumers, mut seats) = (Vec::new(), Vec::new());
    for (group, spec) in workers.into_iter().enumerate() {
        for _ in 0..spec.consumers {
            let subscription = Subscription {
                worker: spec.worker.name().to_owned(),
                partition: u32::try_from(consumers.len()).ok(),
                selector: 1 << group,
                max_demand: spec.demand.max(),
            };
            consumers.push(ConsumerConfig {
                subscription,
                demand: spec.demand,
                batch_size: spec.batch_size,
                batch_timeout_ns: u64::try_from(spec.batch_timeout.as_nanos()).unwrap_or(u64::MAX),
                concurrency: spec.concurrency,
            });
            let worker = spec.worker.clone();
            seats.push(Seat { worker, timeout: spec.timeout, woken: Notify::new() });
        }
    }
    let dispatcher = started(dispatcher, consumers.len())?;
    Ok((StageConfig { dispatcher, consumers }, seats))
}

/// A dispatcher for a stage with so many consumers.
fn started(
    dispatcher: &DispatcherSpec,
    consumers: usize,
) -> Result<Box<dyn Dispatcher>, PipelineError> {
    Ok(match dispatcher {
        DispatcherSpec::Demand => Box::<DemandDispatcher>::default(),
        DispatcherSpec::Broadcast => Box::<BroadcastDispatcher>::default(),
        DispatcherSpec::Partition => {
            let partitions = u32::try_from(consumers).unwrap_or(u32::MAX);
            Box::new(PartitionDispatcher::new(partitions))
        }
        DispatcherSpec::Plugin(plugin) => {
            let started = GuestDispatcher::new(plugin.live().component());
            let failed = |why| PipelineError { name: plugin.name().to_owned(), why };
            Box::new(started.map_err(failed)?)
        }
    })
}
