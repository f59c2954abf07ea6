//! Who works on events.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::ReusableBoxFuture;

use millrace_session::channel::ServerEffect;

use super::core::{Batch, CallEnd};
use super::event::Verdict;

/// Whoever works on the events of a stage: a plugin, or code of the host's own.
pub trait Worker: Debug + Send + Sync {
    /// The name in `millrace.toml`.
    fn name(&self) -> &str;

    /// Whether it can work at all.
    ///
    /// # Errors
    ///
    /// What is wrong, beginning with the key of the configuration.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Makes `call` the future that works on a job's batch. Most are ready at their first
    /// poll. Dropping the future gives the call up.
    fn start(self: Arc<Self>, job: Job, call: &mut WorkerCall);
}

/// A call of a worker. It gives the batch back, whose memory is used again.
pub type WorkerCall = ReusableBoxFuture<'static, (Batch, FinishedJob)>;

/// A batch to work on.
#[derive(Debug)]
pub struct Job {
    /// The pipeline and the stage that the batch is of.
    pub stage: StageName,
    /// The events.
    pub batch: Batch,
    /// A call that takes longer comes to nothing (`timeout_ms`).
    pub timeout: Duration,
}

/// A stage of a pipeline, counted from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageName {
    /// The pipeline's name in `millrace.toml`.
    pub pipeline: Arc<str>,
    /// The stage's number.
    pub stage: u32,
}

/// What a worker made of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Verdicts on some of the events, by their place in the batch.
    pub verdicts: Vec<(u32, Verdict)>,
    /// Effects to be applied in order.
    pub effects: Vec<ServerEffect>,
}

/// How a call of a worker ended.
#[derive(Debug)]
pub struct FinishedJob {
    /// What becomes of the batch.
    pub end: CallEnd,
    /// Effects to be applied in order; none when the call came to nothing.
    pub effects: Vec<ServerEffect>,
    /// How long the call took, if that is measured.
    pub took: Duration,
}

impl FinishedJob {
    /// A call that returned.
    #[must_use]
    pub fn ok(work: Work, took: Duration) -> Self {
        let Work { verdicts, effects } = work;
        Self { end: CallEnd::Answered(verdicts), effects, took }
    }

    /// A call that came to nothing.
    #[must_use]
    pub fn failed(end: CallEnd, took: Duration) -> Self {
        Self { end, effects: Vec::new(), took }
    }
}

/// Code of the host's own, to measure what a plugin costs.
pub struct Native(Box<dyn Fn(&Batch) -> Work + Send + Sync>);

impl Native {
    /// A worker that is a function.
    pub fn new(work: impl Fn(&Batch) -> Work + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(work)))
    }

    /// A worker that is done with everything at once.
    #[must_use]
    pub fn idle() -> Arc<Self> {
        Self::new(|_| Work::default())
    }
}

impl Debug for Native {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Native").finish()
    }
}

impl Worker for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn start(self: Arc<Self>, job: Job, call: &mut WorkerCall) {
        let work = self.0(&job.batch);
        call.set(std::future::ready((job.batch, FinishedJob::ok(work, Duration::ZERO))));
    }
}
