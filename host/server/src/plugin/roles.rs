//! The roles of a plugin in pipelines: worker and dispatcher.

use std::fmt::Debug;
use std::sync::{Arc, Weak};
use std::time::Duration;

use millrace_pipeline::{
    Batch, CallEnd, DispatchError, Dispatcher, DispatcherSpec, FinishedJob, Job, Roles, Standby,
    Worker, WorkerCall,
};
use millrace_wasm::{Fault, FaultKind, GuestDispatcher};

use super::Plugin;

/// The receiver of faults of workers.
pub(crate) trait FaultSink: Debug + Send + Sync {
    /// Takes the fault of a worker's call.
    fn worker_faulted(&self, fault: &Fault, plugin: &str, pipeline: &str);
}

/// A plugin whose live version works on events.
#[derive(Debug)]
struct PluginWorker {
    plugin: Arc<Plugin>,
    faults: Weak<dyn FaultSink>,
}

impl Plugin {
    /// The roles of this plugin in pipelines. Faults of its calls as a worker are told to `faults`.
    pub(crate) fn roles(self: Arc<Self>, faults: Weak<dyn FaultSink>) -> Roles {
        Roles {
            dispatcher: DispatcherSpec::Plugin(Arc::clone(&self) as _),
            worker: Arc::new(PluginWorker { plugin: self, faults }),
        }
    }
}

impl Standby for Plugin {
    fn name(&self) -> &str {
        self.name()
    }

    fn start(&self) -> Result<Box<dyn Dispatcher>, DispatchError> {
        Ok(Box::new(GuestDispatcher::new(self.live().component())?))
    }
}

impl Worker for PluginWorker {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn check(&self) -> Result<(), String> {
        match self.plugin.live().component().has_worker() {
            true => Ok(()),
            false => Err(format!(
                ".worker.plugin is {:?}, which does not export `worker`; name a plugin that does \
                 (in Rust: `export_worker!`)",
                self.plugin.name()
            )),
        }
    }

    fn start(self: Arc<Self>, job: Job, call: &mut WorkerCall) {
        call.set(self.work(job));
    }
}

impl PluginWorker {
    async fn work(self: Arc<Self>, job: Job) -> (Batch, FinishedJob) {
        let Job { stage, batch, timeout } = job;
        let (result, took) = self.plugin.work(&stage, &batch, timeout).await;
        let worked = match result {
            Ok(work) => FinishedJob::ok(work, took),
            Err(fault) => {
                if let Some(faults) = self.faults.upgrade() {
                    faults.worker_faulted(&fault, self.plugin.name(), &stage.pipeline);
                }
                FinishedJob::failed(end(&fault), took)
            }
        };
        (batch, worked)
    }
}

/// The end of a batch whose call failed: it is tried again later if the plugin cannot be called
/// now.
fn end(fault: &Fault) -> CallEnd {
    match fault.kind {
        FaultKind::Held { retry_after_ms }
        | FaultKind::NoRoom { retry_after_ms }
        | FaultKind::Overloaded { retry_after_ms } => {
            CallEnd::Unavailable { retry_after: Duration::from_millis(retry_after_ms) }
        }
        _ => CallEnd::Failed { reason: fault.message.clone() },
    }
}
