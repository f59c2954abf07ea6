//! The versions of one plugin: which is live, which serves a share of the
//! channels for trial, and which can be live again at once.
//!
//! ```text
//!            ┌─ canary: a share of the connections, always the same
//! loaded ──▶ ┤                       │ promote
//!            └────── replace ──────▶ live ──▶ previous ──▶ gone
//!                                      ◀─ roll back ─┘
//! ```
//!
//! A call finishes on the version it began with. One that still waited for an
//! instance when its version was replaced is made on the next one; one that was
//! begun is never made again.

use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use millrace_pipeline::{Batch, StageName, Work};
use millrace_session::channel::{Assigns, Callback, Completion, Effect};
use millrace_wasm::{
    CallContext, Component, ConnectRequest, Connected, Fault, FaultKind, OnMigrate, Pool, Refusal,
};
use millrace_wire::Payload;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Share;

/// A loaded version of a plugin: a component, and the pool of its instances.
pub(crate) type PluginVersion = Pool;

/// A plugin under its name. Its live version may change; calls in flight finish on the version that
/// they began on.
#[derive(Debug)]
pub struct Plugin {
    name: String,
    live: ArcSwap<PluginVersion>,
    /// The address of the live version, to compare with: loading `live` costs more.
    live_ptr: AtomicPtr<PluginVersion>,
    /// Whether the live version takes many messages in one call (`batch`).
    takes_many: AtomicBool,
    canary: ArcSwapOption<Canary>,
    /// Whether there is a canary. There nearly never is one, and this is cheaper to ask.
    has_canary: AtomicBool,
    previous: Mutex<Option<Arc<PluginVersion>>>,
    /// One permit for each task of all versions (`limits.max_tasks`).
    tasks: Arc<Semaphore>,
}

/// A version on trial, which serves a share of the connections.
#[derive(Debug)]
struct Canary {
    version: Arc<PluginVersion>,
    share: Share,
}

/// The version that makes a call.
#[derive(Debug)]
pub(crate) enum ChosenVersion {
    Live(Guard<Arc<PluginVersion>>),
    Canary(Arc<PluginVersion>),
}

/// The end of a call of a channel.
pub(crate) struct CallOutcome {
    pub(crate) result: Result<Completion, Fault>,
    pub(crate) took: Duration,
    /// The version that the channel is pinned to from now on, if it is (`limits.on_migrate`).
    pub(crate) pinned: Option<Arc<PluginVersion>>,
}

impl Deref for ChosenVersion {
    type Target = PluginVersion;

    fn deref(&self) -> &PluginVersion {
        match self {
            Self::Live(version) => version,
            Self::Canary(version) => version,
        }
    }
}

/// The part (one in so many) of `limits.max_tasks` that is left to connections that have no task.
const TASKS_FOR_NEWCOMERS: usize = 16;

impl Plugin {
    /// A plugin with its first version.
    #[must_use]
    pub fn new(name: String, component: Component) -> Self {
        let max_tasks = component.limits().max_tasks.min(Semaphore::MAX_PERMITS);
        let live = Arc::new(PluginVersion::new(component));
        Self {
            name,
            live_ptr: AtomicPtr::new(Arc::as_ptr(&live).cast_mut()),
            takes_many: AtomicBool::new(live.takes_many()),
            live: ArcSwap::new(live),
            canary: ArcSwapOption::empty(),
            has_canary: AtomicBool::new(false),
            previous: Mutex::default(),
            tasks: Arc::new(Semaphore::new(max_tasks)),
        }
    }

    /// The name of the plugin in `millrace.toml`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The permit for one more task of a connection that has `own` already. `None` if all are
    /// taken, the connection has as many as are left for others, or only those are left that are
    /// for connections without a task.
    #[must_use]
    pub fn task_slot(&self, own: usize) -> Option<OwnedSemaphorePermit> {
        let left = self.tasks.available_permits();
        let max = self.live().component().limits().max_tasks;
        if own > 0 && (own >= left || left <= max / TASKS_FOR_NEWCOMERS) {
            return None;
        }
        Arc::clone(&self.tasks).try_acquire_owned().ok()
    }

    /// The live version.
    #[must_use]
    pub fn live(&self) -> Guard<Arc<PluginVersion>> {
        self.live.load()
    }

    // === calls ===

    /// The version for a connection, or for a batch of events: the same for the same number, until
    /// the live version or the canary changes.
    pub(crate) fn choose(&self, number: u64) -> ChosenVersion {
        if self.has_canary.load(Ordering::Relaxed)
            && let Some(canary) = self.canary.load().as_ref()
            && canary.takes(number)
        {
            return ChosenVersion::Canary(Arc::clone(&canary.version));
        }
        ChosenVersion::Live(self.live.load())
    }

    /// The version for a connection, to hand it many messages in one call.
    pub(crate) fn version_for(&self, connection: u64) -> Arc<PluginVersion> {
        match self.choose(connection) {
            ChosenVersion::Live(live) => Arc::clone(&live),
            ChosenVersion::Canary(canary) => canary,
        }
    }

    /// Whether the live version takes many messages in one call.
    pub(crate) fn takes_many(&self) -> bool {
        self.takes_many.load(Ordering::Relaxed)
    }

    /// Whether a connection is served by this version.
    pub(crate) fn is_served_by(&self, connection: u64, version: &Arc<PluginVersion>) -> bool {
        if self.has_canary.load(Ordering::Relaxed) {
            return std::ptr::eq(&*self.choose(connection), Arc::as_ptr(version));
        }
        std::ptr::eq(self.live_ptr.load(Ordering::Relaxed), Arc::as_ptr(version))
    }

    /// Makes a call of a channel on the version that serves its connection, or on the one that the
    /// channel is `pinned` to. A call that was superseded before it began is made on the next
    /// version. If the assigns cannot be migrated, the version that can read them makes the call,
    /// if `limits.on_migrate` says so.
    pub(crate) async fn call(
        &self,
        mut pinned: Option<Arc<PluginVersion>>,
        context: &CallContext,
        assigns: &Assigns,
        callback: &Callback,
    ) -> CallOutcome {
        loop {
            let (result, took) = match &pinned {
                Some(version) => version.call(context.clone(), assigns, callback).await,
                None => {
                    let chosen = self.choose(context.caller.context.connection);
                    chosen.call(context.clone(), assigns, callback).await
                }
            };
            match &result {
                Err(fault) if fault.kind == FaultKind::Superseded => {}
                Err(fault) if fault.kind == FaultKind::Migration && pinned.is_none() => {
                    match self.reader(&context.caller.context.topic, assigns) {
                        Some(version) => pinned = Some(version),
                        None => return CallOutcome { result, took, pinned },
                    }
                }
                _ => return CallOutcome { result, took, pinned },
            }
        }
    }

    /// The version that can read assigns as they are, if channels may be pinned to it
    /// (`limits.on_migrate`).
    fn reader(&self, topic: &str, assigns: &Assigns) -> Option<Arc<PluginVersion>> {
        let live = self.live.load_full();
        if live.component().limits().on_migrate != OnMigrate::KeepOld {
            return None;
        }
        let all = self.previous().clone().into_iter().chain([live]);
        all.into_iter().find(|version| version.component().reads(topic, assigns))
    }

    /// Runs a task to its end, on the version that serves its connection.
    pub(crate) async fn run_task(
        &self,
        context: &CallContext,
        name: &str,
        payload: &Payload,
    ) -> Result<Vec<Effect>, Fault> {
        loop {
            let chosen = self.choose(context.caller.context.connection);
            match chosen.run_task(context.clone(), name, payload).await {
                Err(fault) if fault.kind == FaultKind::Superseded => {}
                result => return result,
            }
        }
    }

    /// Calls the worker with a batch of events; returns its answer, and how long that took. A
    /// canary gets a share of the batches.
    pub(crate) async fn work(
        &self,
        stage: &StageName,
        batch: &Batch,
        timeout: Duration,
    ) -> (Result<Work, Fault>, Duration) {
        let number = batch.rows.first().map_or(0, |[id, ..]| *id);
        loop {
            match self.choose(number).work(stage, batch, timeout).await {
                (Err(fault), _) if fault.kind == FaultKind::Superseded => {}
                answered => return answered,
            }
        }
    }

    /// Asks the live version whether somebody may connect.
    ///
    /// # Errors
    ///
    /// The fault of the call. A refusal is no fault.
    pub(crate) async fn connect(
        &self,
        request: &ConnectRequest,
    ) -> Result<Result<Connected, Refusal>, Fault> {
        loop {
            match self.live().connect(request).await {
                Err(fault) if fault.kind == FaultKind::Superseded => {}
                result => return result,
            }
        }
    }

    // === exchange ===

    /// The version on trial, and its share of the connections.
    pub(crate) fn canary(&self) -> Option<(Arc<PluginVersion>, Share)> {
        self.canary.load().as_ref().map(|canary| (Arc::clone(&canary.version), canary.share))
    }

    /// The version that was live before, which a rollback makes live again.
    pub(crate) fn previous(&self) -> MutexGuard<'_, Option<Arc<PluginVersion>>> {
        self.previous.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a share of the connections served by another version, as a canary.
    pub(crate) fn start_canary(&self, version: Arc<PluginVersion>, share: Share) {
        self.canary.store(Some(Arc::new(Canary { version, share })));
        self.has_canary.store(true, Ordering::Relaxed);
    }

    /// Ends the trial, and returns the version that was on it.
    pub(crate) fn end_canary(&self) -> Option<Arc<PluginVersion>> {
        self.has_canary.store(false, Ordering::Relaxed);
        let canary = self.canary.swap(None)?;
        Some(Arc::clone(&canary.version))
    }

    /// Makes another version the live one. The registry makes sure that this is done one at a time.
    pub(super) fn replace(&self, version: &Arc<PluginVersion>) -> Replaced {
        version.activate();
        let before = self.live.swap(Arc::clone(version));
        self.live_ptr.store(Arc::as_ptr(version).cast_mut(), Ordering::Relaxed);
        self.takes_many.store(version.takes_many(), Ordering::Relaxed);
        before.supersede();
        let gone = self.previous().replace(Arc::clone(&before));
        // After a rollback the version before is the one that is live now.
        let gone = gone.filter(|gone| !Arc::ptr_eq(gone, version));
        Replaced { before, gone }
    }
}

/// Versions that are not live any more, and still have idle instances.
#[derive(Debug)]
#[must_use]
pub(crate) struct Replaced {
    before: Arc<PluginVersion>,
    gone: Option<Arc<PluginVersion>>,
}

impl Replaced {
    /// Ends their idle instances, except a few for a rollback. This takes time: do not call it on a
    /// thread that others wait for.
    pub(crate) fn unload(self) {
        self.before.stand_by();
        if let Some(gone) = self.gone {
            gone.retire();
        }
    }
}

impl Canary {
    /// Whether the canary serves this number.
    fn takes(&self, number: u64) -> bool {
        // The seed makes it other connections for each version, so that not always the same ones
        // bear the risk.
        let seed = self.version.component().sha256();
        let hasher = foldhash::fast::FixedState::with_seed(0);
        let lot = hasher.hash_one(HashInput { seed, number });
        self.share.contains(lot)
    }
}

/// What is hashed to choose the version: the version and a number.
#[derive(Hash)]
struct HashInput<'a> {
    seed: &'a str,
    number: u64,
}
