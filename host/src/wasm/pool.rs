//! Instances of one component that wait for a call.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::instance::Instance;
use super::{Breaker, Component, Fault};

/// Hands out instances, makes new ones when none is free, and lets calls wait
/// when there may be no more.
///
/// The last one returned goes out first, as its memory is still warm.
pub struct Pool {
    component: Component,
    idle: Mutex<Vec<Instance>>,
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

impl Pool {
    /// A pool of at most `max_instances`.
    #[must_use]
    pub fn new(component: Component, max_instances: usize) -> Self {
        let permits = Semaphore::new(max_instances);
        Self { component, idle: Mutex::default(), permits, breaker: Breaker::default() }
    }

    /// What the instances are of.
    #[must_use]
    pub fn component(&self) -> &Component {
        &self.component
    }

    /// An instance for one call. Waits while all are out, and while the breaker
    /// holds new ones back.
    pub(super) async fn take(&self) -> Result<Taken<'_>, Fault> {
        // The pool never closes its semaphore.
        let Ok(permit) = self.permits.acquire().await else {
            return Err(Fault::bad_return("the pool is closed".to_owned()));
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let instance = match idle {
            Some(instance) => instance,
            None => {
                if let Some(delay) = self.breaker.delay() {
                    tokio::time::sleep(delay).await;
                }
                Instance::new(&self.component).await?
            }
        };
        Ok(Taken { instance, _permit: permit })
    }

    /// Takes back an instance whose call went well.
    pub(super) fn give_back(&self, taken: Taken<'_>) {
        if taken.instance.is_reusable() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(taken.instance);
        }
        // The permit goes last: whoever waits for it finds the instance.
    }

    /// Counts a fault against the plugin.
    pub(super) fn faulted(&self) {
        self.breaker.faulted();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("component", &self.component).finish_non_exhaustive()
    }
}
