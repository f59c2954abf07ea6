//! What a round gives back to a connection, and what that has used of its turn.

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

/// What became of the messages of one connection.
#[derive(Default)]
pub(super) struct RoundResults {
    results: Mutex<RunResults>,
    /// Fuel that its messages have used in its turn. Only its thread counts it.
    used: AtomicU64,
}

/// What became of runs.
#[derive(Default)]
pub(super) struct RunResults {
    /// How many came back.
    pub(super) runs: usize,
    /// Their messages that were handled, those of each run from its first.
    pub(super) finished: Vec<FinishedCall>,
    /// Of those that were not handled whole.
    pub(super) unfinished: Vec<Unfinished>,
}

/// What was not over at once.
pub(super) struct Unfinished {
    /// The one after them, if it waits.
    pub(super) pending: Option<PendingCall>,
    /// The first, if it has to be made for itself.
    pub(super) alone: Option<Box<Call<Arc<Handler>>>>,
    /// Those behind them.
    pub(super) not_made: Calls<Arc<Handler>>,
}

impl RoundResults {
    /// What has come since the last time.
    pub(super) fn take(&self) -> RunResults {
        std::mem::take(&mut *self.lock())
    }

    /// New messages are handed over, which may use up a turn.
    pub(super) fn begin(&self) {
        if !self.has_used_up() {
            self.used.store(0, Ordering::Relaxed);
        }
    }

    /// Its turn has come again.
    pub(super) fn begin_turn(&self) {
        // What it used above a turn comes off the next one.
        let above = self.used().saturating_sub(SLICE_FUEL).min(SLICE_FUEL - 1);
        self.used.store(above, Ordering::Relaxed);
    }

    pub(super) fn use_up(&self, fuel: u64) {
        self.used.store(self.used().saturating_add(fuel), Ordering::Relaxed);
    }

    pub(super) fn has_used_up(&self) -> bool {
        self.used() >= SLICE_FUEL
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, RunResults> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunResults {
    pub(super) fn make_room(&mut self) {
        if self.finished.capacity() == 0 {
            self.finished = FINISHED.with(VecPool::take);
        }
    }
}

/// Keeps the room of what came back, for others.
pub(super) fn keep_room(finished: Vec<FinishedCall>) {
    FINISHED.with(|spares| spares.put(finished));
}
