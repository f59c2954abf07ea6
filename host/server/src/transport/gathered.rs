//! Messages of the client, on their way to plugins and back.

use std::sync::Arc;
use std::task::Context;

use millrace_session::channel::Progress;
use millrace_session::{Call, Calls};
use tracing::{Level, enabled};

use super::channels::Channels;
use super::returns::{self, Rest, Returned};
use super::round::{self, MOST_MESSAGES, Run};
use crate::plugin::Handler;

impl Channels {
    /// Takes a message for a plugin, to be handed over at the next [`Self::flush`].
    pub(super) fn gather(&mut self, call: Box<Call<Arc<Handler>>>) {
        self.gathered.push(call);
    }

    /// Whether there is anything to flush.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Hands over the messages that were gathered, and those that wait behind them. What
    /// comes of them is there at the next [`Self::take_returned`].
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        self.returns.begin();
        while !self.gathered.is_empty() {
            let mut is_for_others = true;
            for first in std::mem::take(&mut self.gathered) {
                if self.goes_alone(&first) {
                    self.call(first, cx);
                } else {
                    is_for_others &= round::add(self.run(first, cx));
                }
            }
            if !is_for_others {
                round::handle(cx);
                self.take_returned(cx);
            }
            self.act(cx);
        }
        self.count_handled();
    }

    /// Whoever has been read from enough is read from again once all that was taken has
    /// been handled.
    fn count_handled(&mut self) {
        if !self.is_behind() {
            self.unflushed = 0;
        }
    }

    /// The same, with what comes of them.
    pub(super) fn flush_now(&mut self, cx: &mut Context<'_>) {
        self.flush(cx);
        while self.in_round > 0 {
            round::handle(cx);
            self.take_returned(cx);
            self.flush(cx);
        }
    }

    /// Goes on with what came of messages.
    pub(super) fn take_returned(&mut self, cx: &mut Context<'_>) {
        if self.in_round == 0 {
            return;
        }
        let Returned { runs, mut called, mut rest } = self.returns.take();
        self.in_round -= runs;
        self.has_replies |= runs > 0;
        for rest in &mut rest {
            // Before the channel ends, if it does.
            self.session.put_back(std::mem::take(&mut rest.not_made));
        }
        for called in called.drain(..) {
            self.ended(called);
        }
        returns::keep_room(called);
        for Rest { waits, alone, .. } in rest {
            waits.into_iter().for_each(|call| self.calls.push(call));
            if let Some(alone) = alone {
                self.call(alone, cx);
            }
        }
        self.act(cx);
        self.count_handled();
    }

    /// Whether a message cannot be handled together with those of others.
    fn goes_alone(&self, call: &Call<Arc<Handler>>) -> bool {
        self.pinned.contains_key(&call.ticket.caller.context.channel)
            || !call.plugin.plugin().is_some_and(|plugin| plugin.takes_many())
            || self.account.admit().is_err()
            // Each call has a span of its own then.
            || enabled!(Level::DEBUG)
    }

    fn run(&mut self, first: Box<Call<Arc<Handler>>>, cx: &Context<'_>) -> Run {
        self.in_round += 1;
        let mut calls = Calls::new();
        self.session.follow(&first.ticket.caller.context, MOST_MESSAGES - 1, &mut calls);
        calls.insert(0, first);
        let progress = Arc::clone(&self.account) as Arc<dyn Progress>;
        let (returns, waker) = (Arc::clone(&self.returns), cx.waker().clone());
        Run { calls, progress, returns, waker: Some(waker) }
    }
}
