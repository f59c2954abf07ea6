//! Workers, which handle events, and the jobs they are given.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::ReusableBoxFuture;

use millrace_session::channel::ServerEffect;

use super::core::{Batch, CallEnd};
use super::event::Verdict;

/// A worker handles the events of a stage: it is a plugin, or a function of the host.
pub trait Worker: Debug + Send + Sync {
    /// The name in `millrace.toml`.
    fn name(&self) -> &str;

    /// Checks whether the worker can be called at all.
    ///
    /// # Errors
    ///
    /// The reason why not, which begins with the key of the configuration.
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    /// Sets `call` to the future that handles the job's batch. `call` keeps its memory, so that a
    /// call allocates none. Most futures are ready at their first poll. Dropping the future ends
    /// the call.
    fn start(self: Arc<Self>, job: Job, call: &mut WorkerCall);
}

/// A call of a worker. It returns the batch too, whose memory is used again.
pub type WorkerCall = ReusableBoxFuture<'static, (Batch, FinishedJob)>;

/// A batch of events for a worker.
#[derive(Debug)]
pub struct Job {
    /// The stage that the events are in.
    pub stage: StageName,
    /// The events to handle.
    pub batch: Batch,
    /// The time that the call may take; a longer one has failed (`timeout_ms`).
    pub timeout: Duration,
}

/// The name of a stage, for log lines and plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageName {
    /// The pipeline's name in `millrace.toml`.
    pub pipeline: Arc<str>,
    /// The stage's number, counted from 0.
    pub stage: u32,
}

/// A worker's answer to a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Work {
    /// Verdicts on some of the events, each with the event's place in the batch, counted from 0.
    /// All other events are done.
    pub verdicts: Vec<(u32, Verdict)>,
    /// Effects to apply, in order.
    pub effects: Vec<ServerEffect>,
}

/// A call of a worker that has ended.
#[derive(Debug)]
pub struct FinishedJob {
    /// The end of the call, which says what becomes of the events.
    pub end: CallEnd,
    /// Effects to apply, in order; none when the call failed.
    pub effects: Vec<ServerEffect>,
    /// The duration of the call; 0 if it was not measured.
    pub took: Duration,
}

impl FinishedJob {
    /// A call that the worker answered.
    #[must_use]
    pub fn ok(work: Work, took: Duration) -> Self {
        let Work { verdicts, effects } = work;
        Self { end: CallEnd::Answered(verdicts), effects, took }
    }

    /// A call that failed, or could not be made.
    #[must_use]
    pub fn failed(end: CallEnd, took: Duration) -> Self {
        Self { end, effects: Vec::new(), took }
    }
}

/// A worker that is a function of the host, for benchmarks that measure what a plugin costs.
pub struct Native(Box<dyn Fn(&Batch) -> Work + Send + Sync>);

impl Native {
    /// Makes a worker of a function.
    pub fn new(work: impl Fn(&Batch) -> Work + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self(Box::new(work)))
    }

    /// Makes a worker for which each event is done at once.
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
