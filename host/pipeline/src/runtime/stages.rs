//! The stages of a pipeline, made from their configuration.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::PipelineError;
use crate::consumer::ConsumerConfig;
use crate::core::StageConfig;
use crate::dispatcher::{
    BroadcastDispatcher, DemandDispatcher, Dispatcher, PartitionDispatcher, Subscription,
};
use crate::spec::{DispatcherSpec, WorkerSpec};
use crate::worker::Worker;

/// The runtime's side of a consumer: whom its task calls, and what wakes it.
#[derive(Debug)]
pub(super) struct ConsumerHandle {
    pub(super) worker: Arc<dyn Worker>,
    /// The longest that a call may take (`timeout_ms`).
    pub(super) timeout: Duration,
    /// Notified when the consumer may be able to start a call.
    pub(super) woken: Notify,
}

/// Makes a stage for the core, and a handle for each of its consumers.
///
/// # Errors
///
/// When the dispatcher does not start.
pub(super) fn build_stage(
    dispatcher: &DispatcherSpec,
    workers: Vec<WorkerSpec>,
) -> Result<(StageConfig, Vec<ConsumerHandle>), PipelineError> {
    let (mut consumers, mut handles) = (Vec::new(), Vec::new());
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
            let worker = Arc::clone(&spec.worker);
            handles.push(ConsumerHandle { worker, timeout: spec.timeout, woken: Notify::new() });
        }
    }
    let dispatcher = start_dispatcher(dispatcher, consumers.len())?;
    Ok((StageConfig { dispatcher, consumers }, handles))
}

/// Starts a dispatcher for a stage with that many consumers.
///
/// # Errors
///
/// When it is a plugin that does not start.
pub(super) fn start_dispatcher(
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
            let failed = |why| PipelineError { name: plugin.name().to_owned(), why };
            plugin.start().map_err(failed)?
        }
    })
}
