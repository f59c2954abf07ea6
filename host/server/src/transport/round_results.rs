//! The results that a round gives back to a connection, and the fuel that the connection has
//! used of its turn.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_session::{Call, Calls};
use millrace_wasm::SLICE_FUEL;

use super::channels::{FinishedCall, PendingCall};
use super::vec_pool::VecPool;
use crate::plugin::Handler;

thread_local! {
    static FINISHED: VecPool<FinishedCall> = const { VecPool::new() };
}

/// The results of the messages of one connection, and its fuel.
#[derive(Default)]
pub(super) struct RoundResults {
    results: Mutex<RunResults>,
    /// The fuel that the connection's messages have used in its turn. Only the connection's
    /// thread reads and writes it.
    used: AtomicU64,
}

/// The results of runs that have come back from the round.
#[derive(Default)]
pub(super) struct RunResults {
    /// The number of runs.
    pub(super) runs: usize,
    /// The messages that were handled; those of each run in their order.
    pub(super) finished: Vec<FinishedCall>,
    /// The rest of each run that was not handled to its end.
    pub(super) unfinished: Vec<Unfinished>,
}

/// The rest of a run, behind its messages that were handled.
pub(super) struct Unfinished {
    /// The next message, if its call has begun and waits.
    pub(super) pending: Option<PendingCall>,
    /// The next message, if it needs a call for itself, outside of rounds.
    pub(super) alone: Option<Box<Call<Arc<Handler>>>>,
    /// The messages behind it, whose calls have not begun.
    pub(super) not_made: Calls<Arc<Handler>>,
}

impl RoundResults {
    /// Takes the results that have come since the last time.
    pub(super) fn take(&self) -> RunResults {
        std::mem::take(&mut *self.lock())
    }

    /// Begins a turn for new messages. A turn that is used up goes on being so.
    pub(super) fn begin(&self) {
        if !self.has_used_up() {
            self.used.store(0, Ordering::Relaxed);
        }
    }

    /// Begins the next turn of a connection that has used up its last one.
    pub(super) fn begin_turn(&self) {
        // The fuel that it used above a slice comes off the next turn.
        let above = self.used().saturating_sub(SLICE_FUEL).min(SLICE_FUEL - 1);
        self.used.store(above, Ordering::Relaxed);
    }

    /// Adds fuel to what the connection has used in its turn.
    pub(super) fn add_used(&self, fuel: u64) {
        self.used.store(self.used().saturating_add(fuel), Ordering::Relaxed);
    }

    /// Whether the connection has used up its turn, which is [`SLICE_FUEL`].
    pub(super) fn has_used_up(&self) -> bool {
        self.used() >= SLICE_FUEL
    }

    /// The fuel that the connection has used in its turn.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Locks the results, also after a panic that held the lock.
    pub(super) fn lock(&self) -> MutexGuard<'_, RunResults> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunResults {
    /// Takes a spare vector for finished calls, if there is none.
    pub(super) fn take_spare(&mut self) {
        if self.finished.capacity() == 0 {
            self.finished = FINISHED.with(VecPool::take);
        }
    }
}

/// Keeps the memory of a vector of finished calls for the thread's other connections.
pub(super) fn recycle(finished: Vec<FinishedCall>) {
    FINISHED.with(|spares| spares.put(finished));
}
