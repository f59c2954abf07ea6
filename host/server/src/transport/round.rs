//! A round: the messages that the connections of one thread have read since the thread last
//! waited, which are handed to their plugins together.
//!
//! ```text
//! read ─┐                          ┌─▶ write
//! read ─┼─▶ one call of the plugin ┼─▶ write
//! read ─┘                          └─▶ write
//! ```
//!
//! A thread's tasks run one after the other, in the order in which they were woken. The first
//! connection with a message wakes the task of the round, which therefore runs after all
//! connections that were ready to read. The code of each step stays in the processor's caches
//! for all messages of the round, and many messages share the cost of one call of the plugin.
//!
//! Connections take turns. In its turn, a connection's messages may use [`SLICE_FUEL`]; those
//! that are left then come after the messages of all other connections, also of those that
//! come meanwhile. The round itself takes turns with the thread's other tasks, after
//! [`TURN_FUEL`]: replies are written before more messages are handled.

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

/// The number of messages that are handled in one call of a plugin at most.
pub(super) const MAX_MESSAGES: usize = 64;

thread_local! {
    static ROUND: RefCell<Round> = const {
        RefCell::new(Round { in_turn: VecDeque::new(), used_up: VecDeque::new(), waker: None })
    };
}

/// The runs that wait on one thread.
struct Round {
    /// The runs of connections that have not used up their turn.
    in_turn: VecDeque<ChannelRun>,
    /// The runs of connections that have used up their turn. They come after those `in_turn`;
    /// each turn of the round handles one of them at least.
    used_up: VecDeque<ChannelRun>,
    /// The waker of the task that handles the rounds, if this thread has one.
    waker: Option<Waker>,
}

/// A run: messages of one channel, each of which starts from the assigns that the one before
/// it leaves.
pub(super) struct ChannelRun {
    /// The calls for the messages: at least one until they are given back.
    pub(super) calls: Calls<Arc<Handler>>,
    /// The way of effects that a call flushes before it ends.
    pub(super) progress: Arc<dyn Progress>,
    /// The results and the fuel of the connection.
    pub(super) results: Arc<RoundResults>,
    /// The waker of the connection, until it was woken.
    pub(super) waker: Option<Waker>,
}

/// Handles the rounds of this thread until the future is dropped.
pub(super) async fn run() {
    let _running = Running;
    loop {
        poll_fn(one_turn).await;
        // All tasks that are ready run first, also those that the sockets wake.
        yield_now().await;
    }
}

/// Handles one turn of the round. Ready when there are more messages; else the next one wakes
/// the task.
fn one_turn(cx: &mut Context<'_>) -> Poll<()> {
    ROUND.with_borrow_mut(|round| round.waker = Some(cx.waker().clone()));
    // After a panic, the messages that were being handled come back as lost (`Drop for
    // ChannelRun`). The round itself is whole: runs are taken out of it before they are handled.
    let has_more = catch_unwind(AssertUnwindSafe(|| turn(cx))).unwrap_or_else(|_| {
        error!("the server panicked between the calls of a round, which goes on");
        true
    });
    if has_more { Poll::Ready(()) } else { Poll::Pending }
}

/// A guard of the task that handles the rounds. Once it is dropped, connections have to call
/// [`handle`] themselves.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        ROUND.with_borrow_mut(|round| round.waker = None);
    }
}

/// Adds a run to the round. False when this thread has no task for rounds, so that somebody has
/// to call [`handle`].
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

/// Handles all messages of the round.
pub(super) fn handle(cx: &mut Context<'_>) {
    while turn(cx) {}
}

/// Handles messages until they have used [`TURN_FUEL`]. Whether there are more.
fn turn(cx: &mut Context<'_>) -> bool {
    let mut used = 0;
    while used < TURN_FUEL
        && let Some(run) = ROUND.with_borrow_mut(Round::next)
    {
        used += call_together(run, false, cx);
    }
    // At least one of the runs that wait for their next turn, however many others there are.
    let mut goes_on = true;
    while goes_on && let Some(run) = ROUND.with_borrow_mut(Round::next_used_up) {
        used += call_together(run, true, cx);
        goes_on = used < TURN_FUEL;
    }
    ROUND.with_borrow(|round| !round.is_empty())
}

/// Handles a run, together with those after it that can be in the same call. The fuel that was
/// used.
fn call_together(first: ChannelRun, is_used_up: bool, cx: &mut Context<'_>) -> u64 {
    // The version is chosen here, once for many messages: its reference count, which all
    // threads change, costs more than one message gains.
    let Some(version) = first.version() else {
        first.give_back_alone();
        return 0;
    };
    let most_bytes = version.most_bytes();
    if first.messages().next().is_some_and(|message| message.bytes() > most_bytes) {
        first.give_back_alone();
        return 0;
    }
    let mut together = vec![first];
    ROUND.with_borrow_mut(|round| round.gather(&mut together, &version, is_used_up));
    let (left, used) = call(version, together, cx);
    ROUND.with_borrow_mut(|round| round.put_back(left, is_used_up));
    used
}

/// Handles runs in one call of their version. The runs that have not begun, and the fuel that
/// was used.
fn call(
    version: Arc<PluginVersion>,
    runs: Vec<ChannelRun>,
    cx: &mut Context<'_>,
) -> (Vec<ChannelRun>, u64) {
    let messages = runs.iter().flat_map(ChannelRun::messages);
    let progressed = version.handle_all(messages, cx);
    let mut runs = runs.into_iter();
    let Some(BatchProgress { handled, mut waits }) = progressed else {
        // Only the first run is called for itself; the others may still be handled together.
        if let Some(run) = runs.next() {
            run.give_back_alone();
        }
        return (runs.collect(), 0);
    };
    let waiting = if waits.is_some() { SLICE_FUEL } else { 0 };
    let used = handled.iter().map(|handled| handled.fuel).sum::<u64>() + waiting;
    let mut handled = handled.into_iter();
    while (handled.len() > 0 || waits.is_some())
        && let Some(run) = runs.next()
    {
        run.give_back_handled(&mut handled, &mut waits);
    }
    (runs.collect(), used)
}

impl Round {
    fn is_empty(&self) -> bool {
        self.in_turn.is_empty() && self.used_up.is_empty()
    }

    fn add(&mut self, run: ChannelRun) {
        let queue = if run.results.has_used_up() { &mut self.used_up } else { &mut self.in_turn };
        queue.push_back(run);
    }

    /// Takes the next run of a connection that has not used up its turn.
    fn next(&mut self) -> Option<ChannelRun> {
        while let Some(run) = self.in_turn.pop_front() {
            if !run.results.has_used_up() {
                return Some(run);
            }
            self.used_up.push_back(run);
        }
        None
    }

    /// Takes the next run of the other connections, whose turn begins with that.
    fn next_used_up(&mut self) -> Option<ChannelRun> {
        let run = self.used_up.pop_front()?;
        run.results.begin_turn();
        Some(run)
    }

    /// Adds to `together`, which has one run, the runs that can be in the same call:
    /// those of the same version, with [`MAX_MESSAGES`] messages at most. A connection that has
    /// used up its last turn (`is_used_up`) shares a call with no other.
    fn gather(
        &mut self,
        together: &mut Vec<ChannelRun>,
        version: &Arc<PluginVersion>,
        is_used_up: bool,
    ) {
        let Some(first) = together.first() else { return };
        let (results, mut messages) = (Arc::clone(&first.results), first.calls.len());
        let queue = if is_used_up { &mut self.used_up } else { &mut self.in_turn };
        while let Some(next) = queue.pop_front_if(|next| {
            messages + next.calls.len() <= MAX_MESSAGES
                && (!is_used_up || Arc::ptr_eq(&next.results, &results))
                && next.is_for(version)
        }) {
            messages += next.calls.len();
            together.push(next);
        }
    }

    /// Takes back the runs that have not begun. They stay in front, or come last if their
    /// connection has used up its turn.
    fn put_back(&mut self, left: Vec<ChannelRun>, is_used_up: bool) {
        let (used_up, rest): (Vec<ChannelRun>, Vec<ChannelRun>) =
            left.into_iter().partition(|run| run.results.has_used_up());
        self.used_up.extend(used_up);
        let queue = if is_used_up { &mut self.used_up } else { &mut self.in_turn };
        for run in rest.into_iter().rev() {
            queue.push_front(run);
        }
    }
}

impl ChannelRun {
    /// The plugin's version that serves the connection, if it can handle many messages in one
    /// call.
    fn version(&self) -> Option<Arc<PluginVersion>> {
        let call = self.calls.first()?;
        let version = call.plugin.plugin()?.version_for(call.ticket.caller.context.connection);
        takes(&version, call).then_some(version)
    }

    /// Whether this version serves the connection, and can handle many messages in one call.
    fn is_for(&self, version: &Arc<PluginVersion>) -> bool {
        self.calls.first().is_some_and(|call| {
            let connection = call.ticket.caller.context.connection;
            let serves = call.plugin.plugin().is_some_and(|p| p.is_served_by(connection, version));
            serves && takes(version, call)
        })
    }

    /// Gives the run back with its part of the results: the next ones of `handled`, and `waits`
    /// if that is for one of its messages.
    fn give_back_handled(
        mut self,
        handled: &mut vec::IntoIter<HandledMessage>,
        waits: &mut Option<PendingMessage>,
    ) {
        let mut calls = std::mem::take(&mut self.calls).into_iter();
        let results = Arc::clone(&self.results);
        self.give_back(|returned| {
            returned.take_spare();
            while calls.len() > 0
                && let Some(HandledMessage { result, took, fuel }) = handled.next()
                && let Some(call) = calls.next()
            {
                results.add_used(fuel);
                returned.finished.push(FinishedCall { call, result, took, pinned: None });
            }
            let waits = waits.take_if(|_| calls.len() > 0).and_then(|waits| {
                let call = calls.next()?;
                results.add_used(SLICE_FUEL);
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

    /// Gives the run back for its connection to call the plugin with the first message alone.
    fn give_back_alone(mut self) {
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

    /// Gives the run back to its connection, with what `add` adds to the results, and wakes it.
    fn give_back(&mut self, add: impl FnOnce(&mut RunResults)) {
        let mut returned = self.results.lock();
        add(&mut returned);
        returned.runs += 1;
        drop(returned);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The messages of the run, as a call of the plugin takes them.
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
    /// Gives messages back as lost if they were not given back before, as the connection waits
    /// for them. This happens when the server panics while it handles them, or ends.
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

/// Whether the version can handle this call together with others.
fn takes(version: &PluginVersion, call: &Call<Arc<Handler>>) -> bool {
    let topic = &call.ticket.caller.context.topic;
    call.assigns.as_ref().is_some_and(|assigns| version.takes(topic, assigns))
}

#[cfg(test)]
#[path = "round_tests.rs"]
mod tests;
