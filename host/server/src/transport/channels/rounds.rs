//! Messages of the client on their way to a round, and their results on the way back.

use std::sync::Arc;
use std::task::Context;

use millrace_session::channel::Progress;
use millrace_session::{Call, Calls};

use super::Channels;
use crate::plugin::Handler;
use crate::transport::round::{self, MAX_MESSAGES};
use crate::transport::round_results::{self, RunResults, Unfinished};

impl Channels {
    /// Hands the messages that were read over to the round, with those that wait behind them
    /// in their channels. Their results come with [`Self::take_results`].
    pub(in crate::transport) fn flush(&mut self, cx: &mut Context<'_>) {
        self.batcher.begin();
        while self.batcher.has_messages() {
            let mut has_task = true;
            for first in self.batcher.take_read() {
                if self.goes_alone(&first) {
                    self.call(first, cx);
                } else {
                    has_task &= self.hand_over(first, cx);
                }
            }
            if !has_task {
                round::handle(cx);
                self.take_results(cx);
            }
            self.run_actions(cx);
        }
        self.batcher.note_handled();
    }

    /// Hands the messages over, handles the round, and applies the results, until no message
    /// is left.
    pub(super) fn flush_now(&mut self, cx: &mut Context<'_>) {
        self.flush(cx);
        while self.batcher.is_in_round() {
            round::handle(cx);
            self.take_results(cx);
            self.flush(cx);
        }
    }

    /// Takes the results that have come back from the round, if any have.
    pub(super) fn take_results(&mut self, cx: &mut Context<'_>) {
        let Some(RunResults { mut finished, mut unfinished, .. }) = self.batcher.take_results()
        else {
            return;
        };
        for unfinished in &mut unfinished {
            // This comes before the results, one of which may end the channel.
            self.session.put_back(std::mem::take(&mut unfinished.not_made));
        }
        for call in finished.drain(..) {
            self.ended(call);
        }
        round_results::recycle(finished);
        for Unfinished { pending, alone, .. } in unfinished {
            pending.into_iter().for_each(|call| self.calls.push(call));
            if let Some(alone) = alone {
                self.call(alone, cx);
            }
        }
        self.run_actions(cx);
        self.batcher.note_handled();
    }

    /// Whether a message needs a call for itself: its channel stays with an older version, its
    /// plugin handles one message a call, or the connection may not call plugins now.
    fn goes_alone(&self, call: &Call<Arc<Handler>>) -> bool {
        self.pinned.contains_key(&call.ticket.caller.context.channel)
            || !call.plugin.plugin().is_some_and(|plugin| plugin.takes_many())
            || self.quota.admit().is_err()
    }

    /// Hands a message over to the round, with those that wait behind it in its channel. False
    /// when somebody has to call [`round::handle`].
    fn hand_over(&mut self, first: Box<Call<Arc<Handler>>>, cx: &Context<'_>) -> bool {
        let mut calls = Calls::new();
        self.session.follow(&first.ticket.caller.context, MAX_MESSAGES - 1, &mut calls);
        calls.insert(0, first);
        let progress = Arc::clone(&self.quota) as Arc<dyn Progress>;
        self.batcher.hand_over(calls, progress, cx.waker().clone())
    }
}
