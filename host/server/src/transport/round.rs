//! The messages that the connections of one thread have read since it last waited,
//! handed to their plugins together.
//!
//! ```text
//! read ─┐                          ┌─▶ write
//! read ─┼─▶ one call of the plugin ┼─▶ write
//! read ─┘                          └─▶ write
//! ```
//!
//! A thread's tasks run one after the other in the order in which they were woken. The
//! first connection with a message wakes the round, which so comes after all that were
//! ready to read. Each step has its code in the processor's caches for all messages of
//! the round, and a call of the plugin is paid for once.
//!
//! Connections take turns. The messages of one may use up a slice of fuel; what it has
//! left comes after those of all others, also of those that come meanwhile. And the
//! round takes turns with all else that the thread has to do: what was handled is
//! written before more is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use std::vec;

use millrace_session::channel::{Callback, Progress};
use millrace_session::{Call, Calls};
use millrace_wasm::{
    BatchMessage, BatchProgress, Fault, HandledMessage, PendingMessage, SLICE_FUEL, TURN_FUEL,
};
use tokio::task::yield_now;
use tracing::error;

use super::channels::{FinishedCall, PendingCall};
use super::round_results::{RoundResults, RunResults, Unfinished};
use crate::plugin::{Handler, PluginVersion};

/// Messages handed over in one call.
pub(super) const MAX_MESSAGES: usize = 64;

thread_local! {
    static ROUND: RefCell<Round> = const {
        RefCell::new(Round { first: VecDeque::new(), last: VecDeque::new(), waker: None })
    };
}

struct Round {
    /// Of connections that have not used up their turn.
    first: VecDeque<ChannelRun>,
    /// Of those that have, whose next turn comes after those.
    last: VecDeque<ChannelRun>,
    /// Of the task that handles them, if this thread has one.
    waker: Option<Waker>,
}

/// Messages of one channel, of which each starts from what the one before left.
pub(super) struct ChannelRun {
    /// At least one.
    pub(super) calls: Calls<Arc<Handler>>,
    /// Where flushed effects go.
    pub(super) progress: Arc<dyn Progress>,
    pub(super) results: Arc<RoundResults>,
    /// Of the connection, until it is woken.
    pub(super) waker: Option<Waker>,
}

/// Handles the rounds of this thread, until it is dropped.
pub(super) async fn run() {
    let _running = Running;
    loop {
        poll_fn(one_turn).await;
        // After everything that is ready, also what comes by way of the sockets.
        yield_now().await;
    }
}

/// Ready when there is more to do.
fn one_turn(cx: &mut Context<'_>) -> Poll<()> {
    ROUND.with_borrow_mut(|round| round.waker = Some(cx.waker().clone()));
    // What was in hand comes back as lost, see `Drop for ChannelRun`. Nothing else is
    // half done: runs are taken out of the round before anything is done with them.
    let has_more = catch_unwind(AssertUnwindSafe(|| turn(cx))).unwrap_or_else(|_| {
        error!("the server panicked between the calls of a round, which goes on");
        true
    });
    if has_more { Poll::Ready(()) } else { Poll::Pending }
}

/// Connections handle their messages themselves once it is dropped.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        ROUND.with_borrow_mut(|round| round.waker = None);
    }
}

/// Adds messages to the round. False when somebody has to call [`handle`].
pub(super) fn add(run: ChannelRun) -> bool {
    ROUND.with_borrow_mut(|round| {
        let is_first = round.is_empty();
        round.add(run);
        let Some(waker) = &round.waker else { return false };
        if is_first {
            waker.wake_by_ref();
        }
        true
    })
}

/// Has all messages of the round handled.
pub(super) fn handle(cx: &mut Context<'_>) {
    while turn(cx) {}
}

/// Has messages handled for as long as one turn of the round lasts; whether there are
/// more.
fn turn(cx: &mut Context<'_>) -> bool {
    let mut used = 0;
    while used < TURN_FUEL
        && let Some(run) = ROUND.with_borrow_mut(Round::next)
    {
        used += call_together(run, false, cx);
    }
    // One in each turn at least, however many others there are.
    let mut goes_on = true;
    while goes_on && let Some(run) = ROUND.with_borrow_mut(Round::next_of_last) {
        used += call_together(run, true, cx);
        goes_on = used < TURN_FUEL;
    }
    ROUND.with_borrow(|round| !round.is_empty())
}

/// Has a run handled, and those after it that can be handled with it; the fuel it took.
fn call_together(first: ChannelRun, is_of_last: bool, cx: &mut Context<'_>) -> u64 {
    // Chosen only now, and for many: to count its users costs more than one message
    // gains.
    let Some(version) = first.version() else {
        first.alone();
        return 0;
    };
    let most_bytes = version.most_bytes();
    if first.messages().next().is_some_and(|message| message.bytes() > most_bytes) {
        first.alone();
        return 0;
    }
    let mut together = vec![first];
    ROUND.with_borrow_mut(|round| round.gather(&mut together, &version, is_of_last));
    let (left, used) = call(version, together, cx);
    ROUND.with_borrow_mut(|round| round.put_back(left, is_of_last));
    used
}

/// Has runs handled by their version in one call. What could not be begun comes back,
/// and the fuel that was used.
fn call(
    version: Arc<PluginVersion>,
    runs: Vec<ChannelRun>,
    cx: &mut Context<'_>,
) -> (Vec<ChannelRun>, u64) {
    let messages = runs.iter().flat_map(ChannelRun::messages);
    let progressed = version.handle_all(messages, cx);
    let mut runs = runs.into_iter();
    let Some(BatchProgress { handled, mut waits }) = progressed else {
        // The others may be luckier.
        if let Some(run) = runs.next() {
            run.alone();
        }
        return (runs.collect(), 0);
    };
    let waiting = if waits.is_some() { SLICE_FUEL } else { 0 };
    let used = handled.iter().map(|handled| handled.fuel).sum::<u64>() + waiting;
    let mut handled = handled.into_iter();
    while (handled.len() > 0 || waits.is_some())
        && let Some(run) = runs.next()
    {
        run.returned(&mut handled, &mut waits);
    }
    (runs.collect(), used)
}

impl Round {
    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.last.is_empty()
    }

    fn add(&mut self, run: ChannelRun) {
        let queue = if run.results.has_used_up() { &mut self.last } else { &mut self.first };
        queue.push_back(run);
    }

    /// The next of a connection that has not used up its turn.
    fn next(&mut self) -> Option<ChannelRun> {
        while let Some(run) = self.first.pop_front() {
            if !run.results.has_used_up() {
                return Some(run);
            }
            self.last.push_back(run);
        }
        None
    }

    /// The next of the others, whose turn begins.
    fn next_of_last(&mut self) -> Option<ChannelRun> {
        let run = self.last.pop_front()?;
        run.results.begin_turn();
        Some(run)
    }

    /// Adds to `together` what can be handled with it. A turn of one that has used up
    /// the one before is its own.
    fn gather(
        &mut self,
        together: &mut Vec<ChannelRun>,
        version: &Arc<PluginVersion>,
        is_of_last: bool,
    ) {
        let Some(first) = together.first() else { return };
        let (results, mut messages) = (Arc::clone(&first.results), first.calls.len());
        let queue = if is_of_last { &mut self.last } else { &mut self.first };
        while let Some(next) = queue.pop_front_if(|next| {
            messages + next.calls.len() <= MAX_MESSAGES
                && (!is_of_last || Arc::ptr_eq(&next.results, &results))
                && next.is_for(version)
        }) {
            messages += next.calls.len();
            together.push(next);
        }
    }

    /// Takes back what was not begun: it stays in front, or comes last if it is of the
    /// connection that has used up its turn.
    fn put_back(&mut self, left: Vec<ChannelRun>, is_of_last: bool) {
        let (used_up, rest): (Vec<ChannelRun>, Vec<ChannelRun>) =
            left.into_iter().partition(|run| run.results.has_used_up());
        self.last.extend(used_up);
        let queue = if is_of_last { &mut self.last } else { &mut self.first };
        for run in rest.into_iter().rev() {
            queue.push_front(run);
        }
    }
}

impl ChannelRun {
    /// The version that serves its connection, if it can take its messages together.
    fn version(&self) -> Option<Arc<PluginVersion>> {
        let call = self.calls.first()?;
        let version = call.plugin.plugin()?.version_for(call.ticket.caller.context.connection);
        takes(&version, call).then_some(version)
    }

    /// Whether this version serves its connection, and can take its messages together.
    fn is_for(&self, version: &Arc<PluginVersion>) -> bool {
        self.calls.first().is_some_and(|call| {
            let connection = call.ticket.caller.context.connection;
            let serves = call.plugin.plugin().is_some_and(|p| p.is_served_by(connection, version));
            serves && takes(version, call)
        })
    }

    /// Takes of `handled` what its messages came to, and `waits` if it is for one of them.
    fn returned(
        mut self,
        handled: &mut vec::IntoIter<HandledMessage>,
        waits: &mut Option<PendingMessage>,
    ) {
        let mut calls = std::mem::take(&mut self.calls).into_iter();
        let results = Arc::clone(&self.results);
        self.give_back(|returned| {
            returned.make_room();
            while calls.len() > 0
                && let Some(HandledMessage { result, took, fuel }) = handled.next()
                && let Some(call) = calls.next()
            {
                results.use_up(fuel);
                returned.finished.push(FinishedCall { call, result, took, pinned: None });
            }
            let waits = waits.take_if(|_| calls.len() > 0).and_then(|waits| {
                let call = calls.next()?;
                results.use_up(SLICE_FUEL);
                let channel = call.ticket.caller.context.channel;
                let future = Box::pin(async move {
                    let HandledMessage { result, took, .. } = waits.await;
                    FinishedCall { call, result, took, pinned: None }
                });
                Some(PendingCall { channel, future })
            });
            if waits.is_some() || calls.len() > 0 {
                returned.unfinished.push(Unfinished {
                    pending: waits,
                    alone: None,
                    not_made: calls.collect(),
                });
            }
        });
    }

    fn alone(mut self) {
        let mut calls = std::mem::take(&mut self.calls).into_iter();
        self.give_back(|returned| {
            let alone = calls.next();
            returned.unfinished.push(Unfinished {
                alone,
                not_made: calls.collect(),
                pending: None,
            });
        });
    }

    fn give_back(&mut self, add: impl FnOnce(&mut RunResults)) {
        let mut returned = self.results.lock();
        add(&mut returned);
        returned.runs += 1;
        drop(returned);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn messages(&self) -> impl Iterator<Item = BatchMessage<'_>> + Clone {
        self.calls.iter().filter_map(|call| {
            let Callback::HandleIn { event, payload, wants_reply } = &call.callback else {
                return None;
            };
            let (caller, progress) = (&call.ticket.caller, &self.progress);
            let (assigns, wants_reply) = (call.assigns.as_ref(), *wants_reply);
            let used = self.results.used();
            Some(BatchMessage { caller, progress, assigns, event, payload, wants_reply, used })
        })
    }
}

impl Drop for ChannelRun {
    /// The connection waits for messages that were not given back: the server panicked
    /// while it handled them, or ends.
    fn drop(&mut self) {
        if !self.calls.is_empty() {
            let calls = std::mem::take(&mut self.calls).into_iter();
            self.give_back(|returned| {
                returned.finished.extend(calls.map(|call| {
                    let (result, took) = (Err(Fault::lost()), Duration::ZERO);
                    FinishedCall { call, result, took, pinned: None }
                }));
            });
        }
    }
}

fn takes(version: &PluginVersion, call: &Call<Arc<Handler>>) -> bool {
    let topic = &call.ticket.caller.context.topic;
    call.assigns.as_ref().is_some_and(|assigns| version.takes(topic, assigns))
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
