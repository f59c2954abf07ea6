//! Messages of the client, on their way to plugins and back.

use std::sync::Arc;
use std::task::Context;

use tracing::{Level, enabled};

use super::channels::Channels;
use super::round::{self, MOST_MESSAGES, Rest, Returned, Run};
use super::spare::Spares;
use crate::channel::{Callback, Progress};
use crate::plugin::Handler;
use crate::session::Call;

/// Whether a call is for a message of the client that a plugin handles.
pub(super) fn is_message(call: &Call<Arc<Handler>>) -> bool {
    matches!(call.callback, Callback::HandleIn { .. }) && call.plugin.plugin().is_some()
}

thread_local! {
    static CALLS: Spares<Call<Arc<Handler>>> = const { Spares::new() };
}

impl Channels {
    /// Takes a message for a plugin, to be handed over at the next [`Self::flush`].
    pub(super) fn gather(&mut self, call: Call<Arc<Handler>>) {
        if self.gathered.capacity() == 0 {
            self.gathered = CALLS.with(Spares::take);
        }
        self.gathered.push(call);
    }

    /// Whether there is anything to flush.
    pub(super) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// Hands over the messages that were gathered, and those that wait behind them. What
    /// comes of them is there at the next [`Self::take_returned`].
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        self.unflushed = 0;
        while !self.gathered.is_empty() {
            let mut is_for_others = true;
            let mut gathered = std::mem::take(&mut self.gathered);
            for first in gathered.drain(..) {
                if self.goes_alone(&first) {
                    self.call(first, cx);
                } else {
                    is_for_others &= round::add(self.run(first, cx));
                }
            }
            CALLS.with(|spares| spares.put(gathered));
            if !is_for_others {
                round::handle(cx);
                self.take_returned(cx);
            }
            self.act(cx);
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
        for returned in self.returns.take() {
            self.in_round -= 1;
            let Returned { called, rest } = returned;
            let Rest { waits, alone, not_made } = rest.map_or_else(Rest::default, |rest| *rest);
            // Before the channel ends, if it does.
            self.session.put_back(not_made.into_iter());
            for called in called {
                self.completed(called);
            }
            self.calls.extend(waits);
            if let Some(alone) = alone {
                self.call(alone, cx);
            }
        }
        self.act(cx);
    }

    /// Whether a message cannot be handled together with those of others.
    fn goes_alone(&self, call: &Call<Arc<Handler>>) -> bool {
        self.kept.contains_key(&call.ticket.caller.context.channel)
            || !call.plugin.plugin().is_some_and(|plugin| plugin.live().takes_many())
            || self.account.admit().is_err()
            // Each call has a span of its own then.
            || enabled!(Level::DEBUG)
    }

    fn run(&mut self, first: Call<Arc<Handler>>, cx: &Context<'_>) -> Run {
        self.in_round += 1;
        let context = Arc::clone(&first.ticket.caller.context);
        let mut calls = vec![first];
        self.session.follow(&context, MOST_MESSAGES, &mut calls);
        let progress = Arc::clone(&self.account) as Arc<dyn Progress>;
        let (returns, waker) = (Arc::clone(&self.returns), cx.waker().clone());
        Run { calls, progress, returns, waker }
    }
}
