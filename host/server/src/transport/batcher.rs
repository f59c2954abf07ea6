//! The messages of one connection, on their way to the round of its thread and back.

use std::sync::Arc;
use std::task::Waker;

use millrace_session::channel::Progress;
use millrace_session::{Call, Calls};

use super::round::{self, ChannelRun, MAX_MESSAGES};
use super::round_results::{RoundResults, RunResults};
use crate::plugin::Handler;

/// The messages of one connection that were read or are in the round, and the results that have
/// come back from it.
#[derive(Default)]
pub(super) struct Batcher {
    /// Messages that were read and wait to be handed over.
    read: Calls<Arc<Handler>>,
    /// The number of runs that were handed over and have not come back.
    in_round: usize,
    /// The results that the round gives back.
    results: Arc<RoundResults>,
    /// The number of frames that were taken since all of them had been handled.
    frames: usize,
    /// Whether there may be replies to what has come back.
    has_replies: bool,
}

impl Batcher {
    /// Takes a message for a plugin, which waits to be handed over.
    pub(super) fn add(&mut self, call: Box<Call<Arc<Handler>>>) {
        self.read.push(call);
    }

    /// Counts a frame that was taken, whatever came of it.
    pub(super) fn count_frame(&mut self) {
        self.frames += 1;
    }

    /// Whether messages wait to be handed over.
    pub(super) fn has_messages(&self) -> bool {
        !self.read.is_empty()
    }

    /// Whether messages are in a round.
    pub(super) fn is_in_round(&self) -> bool {
        self.in_round > 0
    }

    /// Whether messages that were read have not all been handled.
    pub(super) fn is_behind(&self) -> bool {
        self.is_in_round() || self.has_messages()
    }

    /// Whether so many frames were taken that they have to be handled before more are
    /// read. `max_pending` is `socket.max_pending`.
    pub(super) fn has_enough(&self, max_pending: usize) -> bool {
        self.frames >= max_pending.min(MAX_MESSAGES)
    }

    /// Begins to hand over messages: they have a new turn in the round, unless the last one was
    /// used up.
    pub(super) fn begin(&mut self) {
        self.results.begin();
    }

    /// Takes the messages that wait to be handed over.
    pub(super) fn take_read(&mut self) -> Calls<Arc<Handler>> {
        std::mem::take(&mut self.read)
    }

    /// Hands messages of one channel over to the round, which wakes the connection when
    /// they come back. False when no task handles this thread's rounds, so that somebody has
    /// to call [`round::handle`].
    pub(super) fn hand_over(
        &mut self,
        calls: Calls<Arc<Handler>>,
        progress: Arc<dyn Progress>,
        waker: Waker,
    ) -> bool {
        self.in_round += 1;
        let results = Arc::clone(&self.results);
        round::add(ChannelRun { calls, progress, results, waker: Some(waker) })
    }

    /// Takes what has come back from the round; `None` when nothing is there to come back.
    pub(super) fn take_results(&mut self) -> Option<RunResults> {
        if self.in_round == 0 {
            return None;
        }
        let results = self.results.take();
        self.in_round -= results.runs;
        self.has_replies |= results.runs > 0;
        Some(results)
    }

    /// Whether there may be replies to what has come back since this was asked.
    pub(super) fn take_has_replies(&mut self) -> bool {
        std::mem::take(&mut self.has_replies)
    }

    /// Sets the count of frames to 0 if all that were taken have been handled, so that more
    /// are read.
    pub(super) fn note_handled(&mut self) {
        if !self.is_behind() {
            self.frames = 0;
        }
    }
}
