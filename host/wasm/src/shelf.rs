//! Instances of one version that wait for a call.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::instance::Instance;
use super::room::Seat;

/// Idle instances. The last one a thread returned goes out to it first, as its
/// memory is still warm in that core's caches.
#[derive(Default)]
pub(super) struct Shelf {
    /// By thread, so that threads seldom meet; never empty.
    shards: [Shard; SHARDS],
}

/// Instances that wait for a call, in cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
struct Shard(Mutex<Idle>);

#[derive(Default)]
pub(super) struct Idle {
    #[expect(clippy::vec_box, reason = "each call moves one in and out")]
    pub(super) instances: Vec<Box<Taken>>,
    /// Calls that went well.
    pub(super) succeeded: u64,
}

/// An instance out of the pool. Dropping it ends the instance, which is right
/// for one whose call trapped or was cut off.
pub(super) struct Taken {
    pub(super) instance: Instance,
    /// Given back after the instance's memory.
    pub(super) _seat: Seat,
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

impl Shelf {
    /// One that waits, from this thread's shard or else from another's.
    pub(super) fn pop(&self) -> Option<Box<Taken>> {
        let home = HOME.with(|home| *home);
        (home..home + SHARDS).find_map(|shard| self.shard(shard).instances.pop())
    }

    /// This thread's shard.
    pub(super) fn home(&self) -> MutexGuard<'_, Idle> {
        self.shard(HOME.with(|home| *home))
    }

    /// One shard after the other.
    pub(super) fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Idle>> {
        (0..SHARDS).map(|number| self.shard(number))
    }

    fn shard(&self, number: usize) -> MutexGuard<'_, Idle> {
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let shard = &self.shards[number % SHARDS].0;
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
