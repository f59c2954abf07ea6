//! Instances of one component that wait for a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::instance::Instance;
use super::{Breaker, Component, Fault};

/// Hands out instances, makes new ones when none is free, and lets calls wait
/// when there may be no more.
///
/// The last one a thread returned goes out to it first, as its memory is still
/// warm in that core's caches.
pub struct Pool {
    component: Component,
    /// By thread, so that threads seldom meet; never empty.
    idle: [Mutex<Vec<Instance>>; SHARDS],
    /// One permit for each instance that may be out.
    permits: Semaphore,
    breaker: Breaker,
}

/// An instance out of the pool. Dropping it ends the instance, which is right
/// for one whose call trapped or was cut off.
pub(super) struct Taken<'a> {
    pub(super) instance: Instance,
    _permit: SemaphorePermit<'a>,
}

/// As many as cores that share a server's load, in powers of two.
const SHARDS: usize = 16;

thread_local! {
    /// The shard a thread looks into first.
    static HOME: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Pool {
    /// A pool of at most `limits.max_instances`.
    #[must_use]
    pub fn new(component: Component) -> Self {
        let permits = Semaphore::new(component.limits.max_instances as usize);
        let idle = std::array::from_fn(|_| Mutex::default());
        let breaker = Breaker::new(component.limits.on_faults);
        Self { component, idle, permits, breaker }
    }

    /// What the instances are of.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// An instance for one call. Waits while all are out; an error while the
    /// breaker holds the plugin back.
    pub(super) async fn take(&self) -> Result<Taken<'_>, Fault> {
        self.breaker.admit().map_err(Fault::held)?;
        let permit = match self.permits.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.permits.acquire().await.map_err(|_| {
                // The pool never closes its semaphore.
                Fault::bad_return("the pool is closed".to_owned())
            })?,
        };
        let instance = match self.idle_instance() {
            Some(instance) => instance,
            None => Instance::new(&self.component).await.inspect_err(|_| self.faulted())?,
        };
        Ok(Taken { instance, _permit: permit })
    }

    /// Takes back an instance whose call went well.
    pub(super) fn give_back(&self, taken: Taken<'_>) {
        self.breaker.succeeded();
        if taken.instance.is_reusable() {
            self.shard(HOME.with(|home| *home)).push(taken.instance);
        }
        // The permit goes last: whoever waits for it finds the instance.
    }

    /// One that waits, from this thread's shard or else from another's.
    fn idle_instance(&self) -> Option<Instance> {
        let home = HOME.with(|home| *home);
        (home..home + SHARDS).find_map(|shard| self.shard(shard).pop())
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Vec<Instance>> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let shard = &self.idle[number % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a fault against the plugin.
    pub(super) fn faulted(&self) {
        if self.breaker.faulted() {
            let plugin = &self.component.settings.name;
            tracing::error!(plugin, "too many calls trap: held back (limits.on_faults)");
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("component", &self.component).finish_non_exhaustive()
    }
}
