//! `[pipelines.NAME]`: one pipeline.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millrace_pipeline::{
    BufferSpec, DemandLimits, DispatcherSpec, Native, OnFull, PipelineSpec, RetryPolicy, Roles,
    Selector, StageSpec, WorkerSpec,
};
use millrace_wire::Pointer;
use serde::Deserialize;

use super::check::no_empty_token;
use super::{TimerConfig, defaults};
use crate::secret::Secret;

/// `[pipelines.NAME]`: one pipeline.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// The only worker; or else `workers` has them.
    pub worker: Option<WorkerConfig>,
    /// Several workers, each of which gets all events that it selects (`dispatcher = "broadcast"`),
    /// or a share of them.
    pub workers: Vec<WorkerConfig>,
    /// The stages before the workers; the events that they forward go on to the next stage.
    pub transforms: Vec<WorkerConfig>,
    /// The dispatcher, which decides which consumer gets which event: `demand`, `broadcast`,
    /// `partition`, or the name of a plugin.
    pub dispatcher: Option<String>,
    /// The JSON pointer to an event's key in its payload.
    pub partition_by: Option<String>,
    /// Whether an event starts only after the event before it with the same key has ended.
    pub ordered: bool,
    /// The age in milliseconds up to which a worker may start on an event; older events are
    /// dropped.
    pub deadline_ms: Option<u64>,
    /// The most events that may start per second; further ones wait.
    pub rate_per_second: Option<u32>,
    /// The buffer in which events wait.
    pub buffer: BufferConfig,
    /// The rules for repeating failed events.
    pub retry: RetryConfig,
    /// The store of events that were given up.
    pub dead_letters: DeadLettersConfig,
    /// The events that come over HTTP.
    pub http: Option<IngestConfig>,
    /// The events that a timer makes.
    pub timer: Option<TimerConfig>,
}

/// A worker and its consumers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerConfig {
    /// The worker's plugin.
    pub plugin: String,
    /// The number of consumers, each with a demand of its own.
    pub consumers: Option<u32>,
    /// The most events that a consumer has at a time.
    pub max_demand: Option<u32>,
    /// The number of events at which a consumer asks for more.
    pub min_demand: Option<u32>,
    /// The most events of one call.
    pub batch_size: Option<u32>,
    /// The time in milliseconds to wait for a batch to fill.
    pub batch_timeout_ms: u64,
    /// The most calls of one consumer at a time.
    pub concurrency: Option<u32>,
    /// The time in milliseconds after which a call fails.
    pub timeout_ms: Option<u64>,
    /// With `dispatcher = "broadcast"`: JSON pointers, each with the values that select an event.
    pub select: BTreeMap<String, Vec<String>>,
    /// For a transform: the dispatcher among its consumers.
    pub dispatcher: Option<String>,
}

/// `[pipelines.NAME.buffer]`: the buffer in which events wait.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BufferConfig {
    /// The most events that may wait.
    pub size: usize,
    /// The most bytes of the payloads of all events that are buffered or in flight.
    pub max_bytes: usize,
    /// The largest payload in bytes; a larger one is refused.
    pub max_event_bytes: usize,
    /// The most events of one key that may wait; further ones are refused or dropped.
    pub max_per_key: Option<usize>,
    /// The events that stay when the buffer is full; the others are dropped.
    pub keep: Option<Keep>,
    /// What happens to a producer's events instead when the buffer is full.
    pub on_full: Option<Backpressure>,
}

/// The events that a full buffer keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The oldest events: a new one is dropped.
    First,
    /// The newest events: the oldest one is dropped.
    Last,
}

/// What a full buffer does to a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backpressure {
    /// The event is refused.
    Reject,
    /// The producer waits for room; one that cannot wait is refused.
    Wait,
}

/// `[pipelines.NAME.retry]`: the rules for repeating failed events.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// The number of attempts for an event in all.
    pub max_attempts: u16,
    /// The time in milliseconds before the second attempt; it doubles before each further one.
    pub backoff_ms: u64,
    /// The longest time in milliseconds before an attempt.
    pub max_backoff_ms: u64,
}

/// `[pipelines.NAME.dead_letters]`: the store of events that were given up.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersConfig {
    /// The most dead letters that are stored; at the limit, the oldest is dropped.
    pub size: usize,
    /// Whether dropped events are stored too.
    pub dropped: bool,
}

/// `[pipelines.NAME.http]`: events over HTTP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// The secret of producers, sent as `authorization: Bearer …`.
    pub token: Option<Secret>,
    /// The largest body of a request in bytes; a larger one is refused.
    pub max_body_bytes: usize,
    /// The most events of a request; a request with more is refused.
    pub max_events: usize,
    /// The time in milliseconds within which a body must be received; otherwise the request is
    /// given up.
    pub timeout_ms: u64,
    /// The time in milliseconds that a request waits for room, with `on_full = "wait"`.
    pub wait_ms: u64,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self {
            size: defaults::BUFFER_SIZE,
            max_bytes: defaults::BUFFER_BYTES,
            max_event_bytes: defaults::MAX_EVENT_BYTES,
            max_per_key: None,
            keep: None,
            on_full: None,
        }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self {
            max_attempts: defaults::MAX_ATTEMPTS,
            backoff_ms: defaults::BACKOFF_MS,
            max_backoff_ms: defaults::MAX_BACKOFF_MS,
        }
    }
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self { size: defaults::DEAD_LETTERS, dropped: false }
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            token: None,
            max_body_bytes: defaults::INGEST_BODY_BYTES,
            max_events: defaults::INGEST_EVENTS,
            timeout_ms: defaults::INGEST_TIMEOUT_MS,
            wait_ms: defaults::INGEST_WAIT_MS,
        }
    }
}

// === checking ===

/// Finds the roles that a plugin can have, by its name.
type Find<'a> = &'a dyn Fn(&str) -> Option<Roles>;

impl PipelineConfig {
    /// Checks what the types cannot; every plugin that the pipeline names must be one of `plugins`.
    pub(super) fn check(&self, name: &str, plugins: &[&str]) -> Result<(), String> {
        let find = |plugin: &str| plugins.contains(&plugin).then(unloaded);
        self.spec(name, &find).map(|_| ()).map_err(|problem| format!("pipelines.{name}{problem}"))
    }

    /// The pipeline's specification. An error begins with the key, which follows the pipeline's
    /// name.
    pub(crate) fn spec(&self, name: &str, find: Find<'_>) -> Result<PipelineSpec, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || !name.chars().all(plain) {
            return Err(": a name has letters, digits, `-` and `_`".to_owned());
        }
        let workers: Vec<_> = self.worker.iter().chain(&self.workers).collect();
        if workers.is_empty() {
            return Err(" needs a worker; add `worker = { plugin = \"…\" }`".to_owned());
        }
        let partition_by = self.partition_by.as_deref().map(Pointer::parse).transpose();
        let partition_by = partition_by.map_err(|problem| format!(".partition_by: {problem}"))?;
        let mut stages = Vec::new();
        for transform in &self.transforms {
            stages.push(stage(transform.dispatcher.as_deref(), &[transform], find)?);
        }
        stages.push(stage(self.dispatcher.as_deref(), &workers, find)?);
        if let Some(stray) = workers.iter().find(|worker| worker.dispatcher.is_some()) {
            return Err(format!(
                ".worker: {:?} has a `dispatcher`; only transforms do, that of the workers is the \
                 pipeline's",
                stray.plugin
            ));
        }
        if self.dispatcher.as_deref() != Some("broadcast")
            && workers.iter().any(|w| !w.select.is_empty())
        {
            return Err(".worker.select needs `dispatcher = \"broadcast\"`".to_owned());
        }
        self.http.as_ref().map_or(Ok(()), IngestConfig::check)?;
        nonzero(self.timer.as_ref().map(|timer| timer.every_ms), "timer.every_ms")?;
        let deadline_ms = nonzero(self.deadline_ms, "deadline_ms")?;
        Ok(PipelineSpec {
            name: name.to_owned(),
            buffer: self.buffer.spec()?,
            retry: self.retry.policy()?,
            partition_by,
            deadline: deadline_ms.map(Duration::from_millis),
            ordered: self.ordered,
            rate_per_second: nonzero(self.rate_per_second, "rate_per_second")?,
            dead_letters: self.dead_letters.size,
            keep_dropped: self.dead_letters.dropped,
            stages,
        })
    }
}

/// The roles of a plugin as long as the plugins are not loaded.
pub(super) fn unloaded() -> Roles {
    Roles { worker: Native::idle(), dispatcher: DispatcherSpec::Demand }
}

fn stage(
    name: Option<&str>,
    workers: &[&WorkerConfig],
    find: Find<'_>,
) -> Result<StageSpec, String> {
    let dispatcher = dispatcher(name, find)?;
    let specs = workers.iter().map(|worker| worker.spec(&dispatcher, find));
    let workers = specs.collect::<Result<Vec<_>, _>>()?;
    if workers.len() > MAX_WORKERS {
        let found = workers.len();
        return Err(format!(".workers has {found}; at most {MAX_WORKERS} are allowed"));
    }
    Ok(StageSpec { dispatcher, workers })
}

/// The most workers of a stage: the selection of a broadcast has one bit for each.
const MAX_WORKERS: usize = 64;

/// The dispatcher with this name; `demand` without a name. An error begins with the key.
pub(crate) fn dispatcher(name: Option<&str>, find: Find<'_>) -> Result<DispatcherSpec, String> {
    Ok(match name.unwrap_or("demand") {
        "demand" => DispatcherSpec::Demand,
        "broadcast" => DispatcherSpec::Broadcast,
        "partition" => DispatcherSpec::Partition,
        found => match find(found) {
            Some(roles) => roles.dispatcher,
            None => {
                return Err(format!(
                    ".dispatcher is {found:?}; \"demand\", \"broadcast\", \"partition\" or the \
                     name of a plugin is expected; there is no [plugins.{found}]"
                ));
            }
        },
    })
}

impl WorkerConfig {
    fn spec(&self, dispatcher: &DispatcherSpec, find: Find<'_>) -> Result<WorkerSpec, String> {
        let plugin = &self.plugin;
        let roles = find(plugin).ok_or_else(|| {
            format!(".worker.plugin is {plugin:?}; there is no [plugins.{plugin}]")
        })?;
        let max = self.max_demand.unwrap_or(defaults::MAX_DEMAND);
        let demand = DemandLimits::new(max, self.min_demand)
            .map_err(|problem| format!(".worker: {problem}"))?;
        let batch_size = nonzero(self.batch_size, "worker.batch_size")?.unwrap_or(1);
        if batch_size > demand.max_batch() {
            return Err(format!(
                ".worker.batch_size is {batch_size}; a batch has at most max_demand - min_demand = \
                 {} events; raise the one or lower the other",
                demand.max_batch()
            ));
        }
        // Events of a partition are handled one after the other, so that they keep their order.
        let calls = if matches!(dispatcher, DispatcherSpec::Partition) { 1 } else { max };
        if let Some((pointer, _)) = self.select.iter().find(|(_, values)| values.is_empty()) {
            return Err(format!(
                ".worker.select has no value for {pointer:?}, so no event is selected; list some, \
                 or leave it out"
            ));
        }
        let timeout_ms = nonzero(self.timeout_ms, "worker.timeout_ms")?;
        let selector = match self.select.is_empty() {
            true => None,
            false => Some(
                Selector::new(self.select.clone())
                    .map_err(|problem| format!(".worker.select: {problem}"))?,
            ),
        };
        Ok(WorkerSpec {
            worker: roles.worker,
            consumers: nonzero(self.consumers, "worker.consumers")?.unwrap_or(1),
            demand,
            batch_size,
            batch_timeout: Duration::from_millis(self.batch_timeout_ms),
            concurrency: nonzero(self.concurrency, "worker.concurrency")?.unwrap_or(calls),
            timeout: Duration::from_millis(timeout_ms.unwrap_or(defaults::WORKER_TIMEOUT_MS)),
            selector: selector.map(Arc::new),
        })
    }
}

impl BufferConfig {
    fn spec(&self) -> Result<BufferSpec, String> {
        let on_full = match (self.keep, self.on_full) {
            (None, None | Some(Backpressure::Reject)) => OnFull::Reject,
            (None, Some(Backpressure::Wait)) => OnFull::Wait,
            (Some(Keep::First), None) => OnFull::KeepFirst,
            (Some(Keep::Last), None) => OnFull::KeepLast,
            (Some(_), Some(_)) => {
                return Err(".buffer has both `keep` and `on_full`; one is allowed".to_owned());
            }
        };
        nonzero(Some(self.size), "buffer.size")?;
        nonzero(Some(self.max_bytes), "buffer.max_bytes")?;
        nonzero(Some(self.max_event_bytes), "buffer.max_event_bytes")?;
        Ok(BufferSpec {
            size: self.size,
            max_bytes: self.max_bytes,
            max_event_bytes: self.max_event_bytes,
            max_per_key: nonzero(self.max_per_key, "buffer.max_per_key")?.unwrap_or(0),
            on_full,
        })
    }
}

impl IngestConfig {
    fn check(&self) -> Result<(), String> {
        nonzero(Some(self.max_body_bytes), "http.max_body_bytes")?;
        nonzero(Some(self.max_events), "http.max_events")?;
        nonzero(Some(self.timeout_ms), "http.timeout_ms")?;
        no_empty_token(".http.token", self.token.as_ref())
    }
}

impl RetryConfig {
    fn policy(&self) -> Result<RetryPolicy, String> {
        nonzero(Some(self.max_attempts), "retry.max_attempts")?;
        if self.backoff_ms > self.max_backoff_ms {
            let (found, most) = (self.backoff_ms, self.max_backoff_ms);
            return Err(format!(
                ".retry.backoff_ms is {found}, and max_backoff_ms {most}; at most that is allowed"
            ));
        }
        Ok(RetryPolicy {
            max_attempts: self.max_attempts,
            backoff: Duration::from_millis(self.backoff_ms),
            max_backoff: Duration::from_millis(self.max_backoff_ms),
        })
    }
}

fn nonzero<T: Default + PartialEq>(value: Option<T>, key: &str) -> Result<Option<T>, String> {
    match value {
        Some(value) if value == T::default() => Err(format!(".{key} is 0; at least 1 is allowed")),
        value => Ok(value),
    }
}
