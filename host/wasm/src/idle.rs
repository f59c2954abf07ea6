//! The idle instances of one version of a plugin.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::instance::Instance;
use super::instance_limit::InstancePermit;

/// The idle instances of one version. A thread gets the one that it returned last, as its memory is
/// still in that core's caches.
#[derive(Default)]
pub(super) struct IdleInstances {
    /// The shards: each thread has one, so that threads seldom wait for each other's lock.
    shards: [Shard; SHARDS],
}

/// One shard, in cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<IdleShard>);

/// What is in one shard.
#[derive(Default)]
pub(super) struct IdleShard {
    #[expect(clippy::vec_box, reason = "each call moves one in and out")]
    pub(super) instances: Vec<Box<PooledInstance>>,
    /// The number of calls that went well, of those that gave their instance back to this shard.
    pub(super) succeeded: u64,
}

/// An instance out of the pool. Dropping it ends the instance, which is right if its call trapped
/// or was cut off.
pub(super) struct PooledInstance {
    pub(super) instance: Instance,
    /// The permit; dropped after the instance, whose memory is then free.
    pub(super) _permit: InstancePermit,
}

/// The number of shards: a power of two that is about the number of cores.
const SHARDS: usize = 16;

thread_local! {
    /// The number of the shard that a thread looks into first.
    static OWN_SHARD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl IdleInstances {
    /// Takes an idle instance from this thread's shard, or else from another's.
    pub(super) fn pop(&self) -> Option<Box<PooledInstance>> {
        let own_shard = OWN_SHARD.with(|own_shard| *own_shard);
        (own_shard..own_shard + SHARDS).find_map(|shard| self.shard(shard).instances.pop())
    }

    /// This thread's shard.
    pub(super) fn own_shard(&self) -> MutexGuard<'_, IdleShard> {
        self.shard(OWN_SHARD.with(|own_shard| *own_shard))
    }

    /// All shards, one after the other; each is locked only while the iterator is at it.
    pub(super) fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, IdleShard>> {
        (0..SHARDS).map(|number| self.shard(number))
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, IdleShard> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let shard = &self.shards[number % SHARDS].0;
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
