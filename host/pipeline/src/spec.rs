//! What a pipeline is made of.

use std::sync::Arc;
use std::time::Duration;

use millrace_wire::Pointer;

use super::core::OnFull;
use super::demand::DemandLimits;
use super::dispatcher::Standby;
use super::retry::RetryPolicy;
use super::selector::Selector;
use super::worker::Worker;

/// One pipeline, its bounds checked.
#[derive(Debug)]
pub struct PipelineSpec {
    /// The name in `millrace.toml`.
    pub name: String,
    /// Where events wait.
    pub buffer: BufferSpec,
    /// How what failed is tried again.
    pub retry: RetryPolicy,
    /// Where the key of an event is in its JSON, unless it was given with the event.
    pub partition_by: Option<Pointer>,
    /// How old an event may be when a worker starts on it.
    pub deadline: Option<Duration>,
    /// Whether an event starts only when the one before it of its key has ended.
    pub ordered: bool,
    /// Events that may start in a second.
    pub rate_per_second: Option<u32>,
    /// Dead letters that are kept.
    pub dead_letters: usize,
    /// Whether what is dropped goes to the dead letters too.
    pub keep_dropped: bool,
    /// In the order in which events pass them; the last one's workers end them.
    pub stages: Vec<StageSpec>,
}

/// Where events wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferSpec {
    /// Events that may wait.
    pub size: usize,
    /// The payloads in hand.
    pub max_bytes: usize,
    /// One payload.
    pub max_event_bytes: usize,
    /// Events of one key that may wait; 0 is without bound.
    pub max_per_key: usize,
    /// What happens when it is full.
    pub on_full: OnFull,
}

/// One stage.
#[derive(Debug)]
pub struct StageSpec {
    /// Who decides which consumer gets which event.
    pub dispatcher: DispatcherSpec,
    /// Its workers, each with its consumers.
    pub workers: Vec<WorkerSpec>,
}

/// A dispatcher by its name.
#[derive(Clone, Debug)]
pub enum DispatcherSpec {
    /// The built-in one: to whom asks for most.
    Demand,
    /// The built-in one: to all that select it.
    Broadcast,
    /// The built-in one: each key to one consumer.
    Partition,
    /// A plugin.
    Plugin(Arc<dyn Standby>),
}

/// One worker of a stage.
#[derive(Debug)]
pub struct WorkerSpec {
    /// Whom to call.
    pub worker: Arc<dyn Worker>,
    /// Consumers that call it.
    pub consumers: u32,
    /// What each asks for.
    pub demand: DemandLimits,
    /// The most events of one call.
    pub batch_size: u32,
    /// How long to wait for a batch to fill.
    pub batch_timeout: Duration,
    /// The most calls of one consumer at a time.
    pub concurrency: u32,
    /// A call that takes longer comes to nothing.
    pub timeout: Duration,
    /// Which events of a broadcast it gets; `None` for all.
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

/// What a plugin can be in a pipeline.
#[derive(Clone, Debug)]
pub struct Roles {
    /// The plugin as a worker.
    pub worker: Arc<dyn Worker>,
    /// The plugin as a dispatcher.
    pub dispatcher: DispatcherSpec,
}
