//! The specification of a pipeline, made from `millrace.toml`.

use std::sync::Arc;
use std::time::Duration;

use millrace_wire::Pointer;

use super::core::OnFull;
use super::demand::DemandLimits;
use super::dispatcher::Standby;
use super::retry::RetryPolicy;
use super::selector::Selector;
use super::worker::Worker;

/// The specification of a pipeline, whose bounds the configuration has checked.
#[derive(Debug)]
pub struct PipelineSpec {
    /// The name in `millrace.toml`.
    pub name: String,
    /// The buffer in which events wait.
    pub buffer: BufferSpec,
    /// The number of attempts of an event, and the waits between them.
    pub retry: RetryPolicy,
    /// The place of an event's key in its JSON, for events that are enqueued without a key.
    pub partition_by: Option<Pointer>,
    /// The time that an event may have waited when a worker starts on it; else it is dropped.
    pub deadline: Option<Duration>,
    /// Whether an event starts only when the one before it of its key has ended.
    pub ordered: bool,
    /// The number of events that may start in the last stage per second; others wait.
    pub rate_per_second: Option<u32>,
    /// The number of dead letters at most; at the limit the oldest is discarded.
    pub dead_letters: usize,
    /// Whether dropped events become dead letters too.
    pub keep_dropped: bool,
    /// The stages in the order in which events pass them; at least one.
    pub stages: Vec<StageSpec>,
}

/// The bounds of the buffer in which events wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSpec {
    /// The number of events that may wait.
    pub size: usize,
    /// The size of the payloads in hand at most, in bytes. A single event may be larger.
    pub max_bytes: usize,
    /// The size of one payload at most, in bytes. A larger event is refused.
    pub max_event_bytes: usize,
    /// The number of events of one key that may wait; 0 is without bound. Further events of the
    /// key are refused, or dropped if a full buffer drops events.
    pub max_per_key: usize,
    /// The treatment of an event that finds no room.
    pub on_full: OnFull,
}

/// The specification of a stage.
#[derive(Debug)]
pub struct StageSpec {
    /// The dispatcher, which decides which consumer gets which event.
    pub dispatcher: DispatcherSpec,
    /// The workers, each with the settings of its consumers.
    pub workers: Vec<WorkerSpec>,
}

/// A dispatcher as configured.
#[derive(Clone, Debug)]
pub enum DispatcherSpec {
    /// The built-in `demand`: each event to the consumer that asks for most.
    Demand,
    /// The built-in `broadcast`: each event to all consumers that select it.
    Broadcast,
    /// The built-in `partition`: the events of a key to one consumer.
    Partition,
    /// A dispatcher that is a plugin.
    Plugin(Arc<dyn Standby>),
}

/// A worker of a stage, and the settings of its consumers.
#[derive(Debug)]
pub struct WorkerSpec {
    /// The worker that the consumers call.
    pub worker: Arc<dyn Worker>,
    /// The number of consumers.
    pub consumers: u32,
    /// The bounds of each consumer's demand.
    pub demand: DemandLimits,
    /// The number of events of one call at most.
    pub batch_size: u32,
    /// The time to wait for a batch to fill; then a call starts with the events that are there.
    pub batch_timeout: Duration,
    /// The number of calls of one consumer under way at most.
    pub concurrency: u32,
    /// The time that a call may take; a longer one is ended and has failed.
    pub timeout: Duration,
    /// Selects the events of a broadcast that the worker gets; `None` for all.
    pub selector: Option<Arc<Selector>>,
}

impl DispatcherSpec {
    /// The name in `millrace.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Demand => "demand",
            Self::Broadcast => "broadcast",
            Self::Partition => "partition",
            Self::Plugin(plugin) => plugin.name(),
        }
    }
}

/// A plugin in the two roles that it can have in a pipeline.
#[derive(Clone, Debug)]
pub struct Roles {
    /// The plugin as a worker.
    pub worker: Arc<dyn Worker>,
    /// The plugin as a dispatcher.
    pub dispatcher: DispatcherSpec,
}
