//! Instances of one version that wait for a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::instance::Instance;
use super::instance_limit::InstancePermit;

/// Idle instances. The last one a thread returned goes out to it first, as its
/// memory is still warm in that core's caches.
#[derive(Default)]
pub(super) struct IdleInstances {
    /// By thread, so that threads seldom meet; never empty.
    shards: [Shard; SHARDS],
}

/// Instances that wait for a call, in cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<IdleShard>);

#[derive(Default)]
pub(super) struct IdleShard {
    #[expect(clippy::vec_box, reason = "each call moves one in and out")]
    pub(super) instances: Vec<Box<PooledInstance>>,
    /// Calls that went well.
    pub(super) succeeded: u64,
}

/// An instance out of the pool. Dropping it ends the instance, which is right
/// for one whose call trapped or was cut off.
pub(super) struct PooledInstance {
    pub(super) instance: Instance,
    /// Given back after the instance's memory.
    pub(super) _permit: InstancePermit,
}

/// As many as cores that share a server's load, in powers of two.
const SHARDS: usize = 16;

thread_local! {
    /// The shard a thread looks into first.
    static OWN_SHARD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl IdleInstances {
    /// One that waits, from this thread's shard or else from another's.
    pub(super) fn pop(&self) -> Option<Box<PooledInstance>> {
        let own_shard = OWN_SHARD.with(|own_shard| *own_shard);
        (own_shard..own_shard + SHARDS).find_map(|shard| self.shard(shard).instances.pop())
    }

    /// This thread's shard.
    pub(super) fn own_shard(&self) -> MutexGuard<'_, IdleShard> {
        self.shard(OWN_SHARD.with(|own_shard| *own_shard))
    }

    /// One shard after the other.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, IdleShard>> {
        (0..SHARDS).map(|number| self.shard(number))
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, IdleShard> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let shard = &self.shards[number % SHARDS].0;
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
