//! The pipelines of a server, and what their workers need of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use millrace_pipeline::{DropReason, EffectSink, NewEvent, Pipeline, Roles, Standby, Totals};
use millrace_session::Realm;
use millrace_session::channel::{ServerEffect, SocketRef};
use millrace_telemetry::{Metric, Metrics, Origin, unix_ms};
use millrace_wasm::{Component, Fault, GuestStandby};
use millrace_wire::Payload;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::{Node, Stage, StartError};
use crate::config::{PipelineConfig, TimerConfig};
use crate::plugin::FaultSink;

/// The pipelines of a server by name; there are none until the plugins are loaded.
#[derive(Debug, Default)]
pub(crate) struct Pipelines {
    all: OnceLock<BTreeMap<String, Arc<Pipeline>>>,
    /// The totals of each pipeline that metrics have counted already.
    counted: Mutex<HashMap<String, Totals>>,
}

impl Pipelines {
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Pipeline>> {
        self.all.get()?.get(name)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Pipeline>> {
        self.all.get().into_iter().flat_map(BTreeMap::values)
    }

    /// Waits until all pipelines are empty at the same time, then closes them.
    pub(crate) async fn drain(&self) {
        while self.all().any(|pipeline| !pipeline.is_empty()) {
            for pipeline in self.all() {
                pipeline.emptied().await;
            }
        }
        for pipeline in self.all() {
            pipeline.close();
            let (totals, name) = (pipeline.totals(), pipeline.name());
            let Totals { done, failed, .. } = totals;
            info!(pipeline = name, done, failed, dropped = totals.all_dropped(), "drained");
        }
    }

    /// Drops the events that wait in the pipelines, when there is no more time.
    pub(crate) fn abandon(&self) {
        self.all().for_each(|pipeline| pipeline.abandon());
    }

    /// Adds to the metrics what has happened to events since the last time.
    pub(crate) fn count(&self, metrics: &Metrics) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for pipeline in self.all() {
            let before = counted.entry(pipeline.name().to_owned()).or_default();
            *before = count(pipeline, before, metrics);
        }
    }

    /// The number of events that are buffered or in flight.
    pub(crate) fn in_hand(&self) -> u64 {
        let totals = self.all().map(|pipeline| pipeline.totals());
        totals.map(|totals| totals.buffered + totals.in_flight).sum()
    }
}

impl Node {
    /// Starts the pipelines, after the plugins are loaded.
    pub(crate) fn start_pipelines(
        self: &Arc<Self>,
        configs: &BTreeMap<String, PipelineConfig>,
    ) -> Result<(), StartError> {
        let mut pipelines = BTreeMap::new();
        for (name, config) in configs {
            let find = |plugin: &str| self.roles(plugin);
            let failed = |problem| StartError::Pipeline { name: name.clone(), problem };
            let spec = config.spec(name, &find).map_err(failed)?;
            for worker in spec.stages.iter().flat_map(|stage| &stage.workers) {
                worker.worker.check().map_err(failed)?;
            }
            let random = self.id ^ pipelines.len() as u64;
            let pipeline = Pipeline::new(spec, random, &self.metrics);
            let pipeline = Arc::new(pipeline.map_err(|error| failed(format!(": {error}")))?);
            let this = Arc::downgrade(self) as Weak<dyn EffectSink>;
            pipeline.start(this);
            if let Some(timer) = &config.timer {
                tokio::spawn(tick(Arc::downgrade(self), Arc::clone(&pipeline), timer.clone()));
            }
            pipelines.insert(name.clone(), pipeline);
        }
        // This is called once, so it cannot be set yet.
        let _ = self.pipelines.all.set(pipelines);
        Ok(())
    }

    /// The roles that a plugin can have in pipelines.
    fn roles(self: &Arc<Self>, plugin: &str) -> Option<Roles> {
        let faults = Arc::downgrade(self) as Weak<dyn FaultSink>;
        Some(self.registry.plugin(plugin)?.roles(faults))
    }

    /// Switches the dispatcher of a pipeline's stage (the last one by default) to the one of this
    /// name.
    pub(crate) fn switch_dispatcher(
        self: &Arc<Self>,
        pipeline: &Pipeline,
        stage: Option<usize>,
        name: &str,
    ) -> Result<(), String> {
        let find = |plugin: &str| self.roles(plugin);
        let spec = crate::config::dispatcher(Some(name), &find)?;
        let last = pipeline.dispatchers().len().saturating_sub(1);
        let switched = pipeline.switch_dispatcher(stage.unwrap_or(last), spec);
        switched.map_err(|error| format!(": {error}"))
    }

    /// Gives the new live version of a plugin to the pipelines whose dispatcher it is.
    pub(crate) fn swap_dispatchers(
        &self,
        before: &Component,
        after: &Component,
    ) -> Result<(), StartError> {
        let before = Arc::new(GuestStandby(before.clone())) as Arc<dyn Standby>;
        let after = GuestStandby(after.clone());
        for pipeline in self.pipelines.all() {
            let name = pipeline.name().to_owned();
            let failed = |error| StartError::Pipeline { name, problem: format!(": {error}") };
            pipeline.swap_dispatcher(&before, &after).map_err(failed)?;
        }
        Ok(())
    }
}

impl EffectSink for Node {
    fn apply(&self, effects: Vec<ServerEffect>, origin: Option<Arc<Origin>>) {
        for effect in effects {
            Node::apply(self, Realm::App, effect, origin.clone());
        }
    }

    fn reply(&self, to: SocketRef, status: String, payload: Payload) {
        self.reply_to(to, status, payload);
    }

    fn refused(&self, pipeline: &Pipeline, event: NewEvent) {
        self.refuse_for(pipeline, event);
    }
}

impl FaultSink for Node {
    fn worker_faulted(&self, fault: &Fault, plugin: &str, pipeline: &str) {
        let cause = fault.kind.as_str();
        if let Some(line) = self.faults.line(plugin) {
            let (details, left_out, message) = (fault.details(), line.left_out(), &fault.message);
            warn!(plugin, pipeline, cause, left_out, details, "a worker failed: {message}");
        }
        self.metrics.count_of(Metric::WasmFault, &[plugin, cause], 1);
        self.faults.push(fault, plugin, &format!("pipeline {pipeline}"));
    }
}

/// Adds to the metrics what has happened to a pipeline's events since `before`; returns the totals
/// now.
fn count(pipeline: &Pipeline, before: &Totals, metrics: &Metrics) -> Totals {
    let (name, now) = (pipeline.name(), pipeline.totals());
    let count = |metric, labels: &[&str], now: u64, before: u64| {
        let more = i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
        metrics.count_of(metric, labels, more);
    };
    count(Metric::PipelineAccepted, &[name], now.accepted, before.accepted);
    count(Metric::PipelineRejected, &[name], now.rejected, before.rejected);
    count(Metric::PipelineDone, &[name], now.done, before.done);
    count(Metric::PipelineFailed, &[name], now.failed, before.failed);
    count(Metric::PipelineRetried, &[name], now.retried, before.retried);
    let dropped = now.dropped.iter().zip(before.dropped);
    for (reason, (now, before)) in DropReason::ALL.iter().zip(dropped) {
        count(Metric::PipelineDropped, &[name, reason.as_str()], *now, before);
    }
    let letters = pipeline.dead_letters().counts().0 as u64;
    for (metric, value) in [
        (Metric::PipelineBuffered, now.buffered),
        (Metric::PipelineInFlight, now.in_flight),
        (Metric::PipelineDelayed, now.delayed),
        (Metric::PipelineBytes, now.bytes),
        (Metric::PipelineDemand, now.demand),
        (Metric::PipelineKeys, now.keys),
        (Metric::PipelineDeadLetters, letters),
    ] {
        #[expect(clippy::cast_precision_loss, reason = "counts need no 53 bits")]
        metrics.set_of(metric, &[name], value as f64);
    }
    now
}

/// Hands an event to a pipeline at each tick of its timer, until the server stops.
async fn tick(node: Weak<Node>, pipeline: Arc<Pipeline>, timer: TimerConfig) {
    let TimerConfig { every_ms, payload, key } = timer;
    let payload = payload.to_string();
    let mut ticks = interval(Duration::from_millis(every_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(node) = node.upgrade() else { return };
        if *node.stage.borrow() == Stage::Draining {
            return;
        }
        let (key, payload) = (key.as_deref().map(Into::into), payload.clone().into());
        let event = NewEvent { payload, key, enqueued_unix_ms: unix_ms(), ..NewEvent::default() };
        pipeline.enqueue(vec![event]);
    }
}
