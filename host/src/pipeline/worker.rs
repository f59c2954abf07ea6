//! Who works on events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::core::{Batch, CallEnd};
use crate::channel::Effect;
use crate::plugin::Plugin;
use crate::wasm::{Fault, FaultKind, StageName, Work};

/// Who works on the events of a stage.
#[derive(Clone)]
pub enum Worker {
    /// A plugin's live version.
    Plugin(Arc<Plugin>),
    /// Code of the host's own, to measure what a plugin costs.
    Native(Native),
}

/// Code of the host's own.
pub type Native = Arc<dyn Fn(&Batch) -> Work + Send + Sync>;

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.name()).finish()
    }
}

/// What came of a batch.
#[derive(Debug)]
pub(super) struct Worked {
    pub(super) end: CallEnd,
    pub(super) effects: Vec<Effect>,
    pub(super) fault: Option<Fault>,
    pub(super) took: Duration,
}

impl Worker {
    /// Whether it can work; an error begins with the key of the configuration.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self {
            Self::Plugin(plugin) if !plugin.live().component().has_worker() => Err(format!(
                ".worker.plugin is {:?}, which does not export `worker`; name a plugin that does \
                 (in Rust: `export_worker!`)",
                plugin.name()
            )),
            Self::Plugin(_) | Self::Native(_) => Ok(()),
        }
    }

    /// Nobody, who is done with everything at once.
    #[must_use]
    pub fn none() -> Self {
        Self::Native(Arc::new(|_| Work::default()))
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Plugin(plugin) => plugin.name(),
            Self::Native(_) => "native",
        }
    }

    pub(super) async fn work(&self, at: StageName<'_>, batch: &Batch, timeout: Duration) -> Worked {
        let (result, took) = match self {
            Self::Plugin(plugin) => plugin.work(at, batch, timeout).await,
            Self::Native(native) => (Ok(native(batch)), Duration::ZERO),
        };
        match result {
            Ok(Work { verdicts, effects }) => {
                Worked { end: CallEnd::Answered(verdicts), effects, fault: None, took }
            }
            Err(fault) => {
                let end = match fault.kind {
                    FaultKind::Held { retry_after_ms }
                    | FaultKind::NoRoom { retry_after_ms }
                    | FaultKind::Overloaded { retry_after_ms } => {
                        CallEnd::Unavailable { retry_after: Duration::from_millis(retry_after_ms) }
                    }
                    _ => CallEnd::Failed { reason: fault.message.clone() },
                };
                Worked { end, effects: Vec::new(), fault: Some(fault), took }
            }
        }
    }
}
