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

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::channels::{Called, PendingCall};
use crate::channel::{Callback, Completion, Progress};
use crate::plugin::Handler;
use crate::session::Call;
use crate::wasm::{BatchMessage, Fault, Pool, Progressed};

/// Messages handed over in one call.
pub(super) const MOST_MESSAGES: usize = 64;

thread_local! {
    static ROUND: RefCell<Round> = const {
        RefCell::new(Round { runs: VecDeque::new(), waker: None })
    };
}

struct Round {
    runs: VecDeque<Run>,
    /// Of the task that handles them, if this thread has one.
    waker: Option<Waker>,
}

/// Messages of one channel, of which each starts from what the one before left.
pub(super) struct Run {
    pub(super) version: Arc<Pool>,
    pub(super) calls: Vec<Call<Arc<Handler>>>,
    /// Where flushed effects go.
    pub(super) progress: Arc<dyn Progress>,
    pub(super) returns: Arc<Returns>,
    /// Of the connection.
    pub(super) waker: Waker,
}

/// What became of the messages of one connection.
#[derive(Default)]
pub(super) struct Returns(Mutex<Vec<Returned>>);

/// What became of a run.
pub(super) struct Returned {
    /// Those that were made, from the first.
    pub(super) called: Vec<Called>,
    /// If that was not all.
    pub(super) rest: Option<Box<Rest>>,
}

/// What was not over at once.
#[derive(Default)]
pub(super) struct Rest {
    /// The one after them, if it waits.
    pub(super) waits: Option<PendingCall>,
    /// The first, if it has to be made for itself.
    pub(super) alone: Option<Call<Arc<Handler>>>,
    /// Those behind them.
    pub(super) not_made: Vec<Call<Arc<Handler>>>,
}

/// Handles the rounds of this thread.
pub(super) async fn run() {
    poll_fn(|cx| {
        ROUND.with_borrow_mut(|round| round.waker = Some(cx.waker().clone()));
        handle(cx);
        Poll::Pending
    })
    .await
}

/// Adds messages to the round. False when somebody has to call [`handle`].
pub(super) fn add(run: Run) -> bool {
    ROUND.with_borrow_mut(|round| {
        let is_first = round.runs.is_empty();
        round.runs.push_back(run);
        let Some(waker) = &round.waker else { return false };
        if is_first {
            waker.wake_by_ref();
        }
        true
    })
}

/// Has all messages of the round handled.
pub(super) fn handle(cx: &mut Context<'_>) {
    let mut runs = ROUND.with_borrow_mut(|round| std::mem::take(&mut round.runs));
    while let Some(first) = runs.pop_front() {
        let mut messages = first.calls.len();
        let mut together = vec![first];
        while let Some(next) = runs.pop_front_if(|next| {
            messages + next.calls.len() <= MOST_MESSAGES
                && Arc::ptr_eq(&next.version, &together[0].version)
        }) {
            messages += next.calls.len();
            together.push(next);
        }
        for run in call(together, cx).into_iter().rev() {
            runs.push_front(run);
        }
    }
}

/// Has runs of one version handled in one call. What could not be begun comes back.
fn call(runs: Vec<Run>, cx: &mut Context<'_>) -> Vec<Run> {
    let mut runs = runs.into_iter();
    let version = Arc::clone(&runs.as_slice()[0].version);
    let messages = runs.as_slice().iter().flat_map(Run::messages);
    let Some(Progressed { handled, mut waits }) = version.handle_all(messages, cx) else {
        // The others may be luckier.
        if let Some(run) = runs.next() {
            run.alone();
        }
        return runs.collect();
    };
    let mut handled = handled.into_iter();
    while handled.len() > 0 || waits.is_some() {
        let Some(run) = runs.next() else { break };
        let Run { calls, returns, waker, .. } = run;
        let mut calls = calls.into_iter();
        let mut called = Vec::with_capacity(calls.len());
        while let Some((result, took)) = (calls.len() > 0).then(|| handled.next()).flatten()
            && let Some(call) = calls.next()
        {
            called.push(of(call, result, took));
        }
        let waits = waits.take_if(|_| calls.len() > 0).and_then(|waits| {
            let call = calls.next()?;
            let channel = call.ticket.caller.context.channel;
            let future = Box::pin(async move {
                let (result, took) = waits.await;
                of(call, result, took)
            });
            Some(PendingCall { channel, future })
        });
        let not_made: Vec<_> = calls.collect();
        let is_all = waits.is_none() && not_made.is_empty();
        let rest = (!is_all).then(|| Box::new(Rest { waits, alone: None, not_made }));
        returns.lock().push(Returned { called, rest });
        waker.wake();
    }
    runs.collect()
}

impl Run {
    fn messages(&self) -> impl Iterator<Item = BatchMessage<'_>> {
        self.calls.iter().filter_map(|call| {
            let Callback::HandleIn { event, payload, wants_reply } = &call.callback else {
                return None;
            };
            let (caller, progress) = (&call.ticket.caller, &self.progress);
            let (assigns, wants_reply) = (call.assigns.as_ref(), *wants_reply);
            Some(BatchMessage { caller, progress, assigns, event, payload, wants_reply })
        })
    }

    fn alone(self) {
        let mut calls = self.calls.into_iter();
        let alone = calls.next();
        let rest = Box::new(Rest { alone, not_made: calls.collect(), waits: None });
        self.returns.lock().push(Returned { called: Vec::new(), rest: Some(rest) });
        self.waker.wake();
    }
}

impl Returns {
    /// What has come since the last time.
    pub(super) fn take(&self) -> Vec<Returned> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Returned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(call: Call<Arc<Handler>>, result: Result<Completion, Fault>, took: Duration) -> Called {
    let Call { plugin: handler, callback, ticket, .. } = call;
    let event = match callback {
        Callback::HandleIn { event, .. } => Some(event),
        _ => None,
    };
    Called { ticket, handler, result, event, took, kept: None }
}
