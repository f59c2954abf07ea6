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
use std::vec;

use super::called::{Called, PendingCall};
use super::spare::Spares;
use crate::channel::{Callback, Progress};
use crate::plugin::Handler;
use crate::session::{Call, Calls};
use crate::wasm::{BatchMessage, Fault, Handled, Pool, Progressed, Waits};

/// Messages handed over in one call.
pub(super) const MOST_MESSAGES: usize = 64;

thread_local! {
    static ROUND: RefCell<Round> = const {
        RefCell::new(Round { runs: VecDeque::new(), waker: None })
    };
    static CALLED: Spares<Called> = const { Spares::new() };
}

struct Round {
    runs: VecDeque<Run>,
    /// Of the task that handles them, if this thread has one.
    waker: Option<Waker>,
}

/// Messages of one channel, of which each starts from what the one before left.
pub(super) struct Run {
    /// At least one.
    pub(super) calls: Calls<Arc<Handler>>,
    /// Where flushed effects go.
    pub(super) progress: Arc<dyn Progress>,
    pub(super) returns: Arc<Returns>,
    /// Of the connection, until it is woken.
    pub(super) waker: Option<Waker>,
}

/// What became of the messages of one connection.
#[derive(Default)]
pub(super) struct Returns(Mutex<Returned>);

/// What became of runs.
#[derive(Default)]
pub(super) struct Returned {
    /// How many came back.
    pub(super) runs: usize,
    /// Their messages that were handled, those of each run from its first.
    pub(super) called: Vec<Called>,
    /// Of those that were not handled whole.
    pub(super) rest: Vec<Rest>,
}

/// What was not over at once.
pub(super) struct Rest {
    /// The one after them, if it waits.
    pub(super) waits: Option<PendingCall>,
    /// The first, if it has to be made for itself.
    pub(super) alone: Option<Box<Call<Arc<Handler>>>>,
    /// Those behind them.
    pub(super) not_made: Calls<Arc<Handler>>,
}

/// Handles the rounds of this thread, until it is dropped.
pub(super) async fn run() {
    let _running = Running;
    poll_fn(|cx| {
        ROUND.with_borrow_mut(|round| round.waker = Some(cx.waker().clone()));
        handle(cx);
        Poll::Pending
    })
    .await
}

/// Connections handle their messages themselves once it is dropped.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        ROUND.with_borrow_mut(|round| round.waker = None);
    }
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
        // Chosen only now, and for many: to count its users costs more than one message
        // gains.
        let Some(version) = first.version() else {
            first.alone();
            continue;
        };
        let mut messages = first.calls.len();
        let mut together = vec![first];
        while let Some(next) = runs.pop_front_if(|next| {
            messages + next.calls.len() <= MOST_MESSAGES && next.is_for(&version)
        }) {
            messages += next.calls.len();
            together.push(next);
        }
        for run in call(version, together, cx).into_iter().rev() {
            runs.push_front(run);
        }
    }
}

/// Has runs handled by their version in one call. What could not be begun comes back.
fn call(version: Arc<Pool>, runs: Vec<Run>, cx: &mut Context<'_>) -> Vec<Run> {
    let messages = runs.iter().flat_map(Run::messages);
    let progressed = version.handle_all(messages, cx);
    let mut runs = runs.into_iter();
    let Some(Progressed { handled, mut waits }) = progressed else {
        // The others may be luckier.
        if let Some(run) = runs.next() {
            run.alone();
        }
        return runs.collect();
    };
    let mut handled = handled.into_iter();
    while (handled.len() > 0 || waits.is_some())
        && let Some(run) = runs.next()
    {
        run.returned(&mut handled, &mut waits);
    }
    runs.collect()
}

impl Run {
    /// The version that serves its connection, if it can take its messages together.
    fn version(&self) -> Option<Arc<Pool>> {
        let call = self.calls.first()?;
        let version = call.plugin.plugin()?.version_for(call.ticket.caller.context.connection);
        takes(&version, call).then_some(version)
    }

    /// Whether this version serves its connection, and can take its messages together.
    fn is_for(&self, version: &Arc<Pool>) -> bool {
        self.calls.first().is_some_and(|call| {
            let connection = call.ticket.caller.context.connection;
            let serves = call.plugin.plugin().is_some_and(|p| p.is_served_by(connection, version));
            serves && takes(version, call)
        })
    }

    /// Takes of `handled` what its messages came to, and `waits` if it is for one of them.
    fn returned(mut self, handled: &mut vec::IntoIter<Handled>, waits: &mut Option<Waits>) {
        let mut calls = std::mem::take(&mut self.calls).into_iter();
        self.give_back(|returned| {
            returned.make_room();
            while calls.len() > 0
                && let Some((result, took)) = handled.next()
                && let Some(call) = calls.next()
            {
                returned.called.push(Called { call, result, took, kept: None });
            }
            let waits = waits.take_if(|_| calls.len() > 0).and_then(|waits| {
                let call = calls.next()?;
                let channel = call.ticket.caller.context.channel;
                let future = Box::pin(async move {
                    let (result, took) = waits.await;
                    Called { call, result, took, kept: None }
                });
                Some(PendingCall { channel, future })
            });
            if waits.is_some() || calls.len() > 0 {
                returned.rest.push(Rest { waits, alone: None, not_made: calls.collect() });
            }
        });
    }

    fn alone(mut self) {
        let mut calls = std::mem::take(&mut self.calls).into_iter();
        self.give_back(|returned| {
            let alone = calls.next();
            returned.rest.push(Rest { alone, not_made: calls.collect(), waits: None });
        });
    }

    fn give_back(&mut self, add: impl FnOnce(&mut Returned)) {
        let mut returned = self.returns.lock();
        add(&mut returned);
        returned.runs += 1;
        drop(returned);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

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
}

impl Drop for Run {
    /// The connection waits for messages that were not given back: the server panicked
    /// while it handled them, or ends.
    fn drop(&mut self) {
        if !self.calls.is_empty() {
            let calls = std::mem::take(&mut self.calls).into_iter();
            self.give_back(|returned| {
                returned.called.extend(calls.map(|call| {
                    let (result, took) = (Err(Fault::lost()), Duration::ZERO);
                    Called { call, result, took, kept: None }
                }));
            });
        }
    }
}

impl Returns {
    /// What has come since the last time.
    pub(super) fn take(&self) -> Returned {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Returned> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Returned {
    fn make_room(&mut self) {
        if self.called.capacity() == 0 {
            self.called = CALLED.with(Spares::take);
        }
    }
}

/// Keeps the room of what came back, for others.
pub(super) fn keep_room(called: Vec<Called>) {
    CALLED.with(|spares| spares.put(called));
}

fn takes(version: &Pool, call: &Call<Arc<Handler>>) -> bool {
    let topic = &call.ticket.caller.context.topic;
    call.assigns.as_ref().is_some_and(|assigns| version.takes(topic, assigns))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use super::*;
    use crate::channel::{Assigns, Caller, Context as Channel, Effect, Failure};
    use crate::config::DashboardConfig;
    use crate::dashboard::{Dashboard, History};
    use crate::plugin::Serves;
    use crate::session::{Ticket, Turn};
    use crate::telemetry::Metrics;
    use crate::wire::{Payload, TopicPattern};

    #[derive(Debug)]
    struct Nothing;

    impl Progress for Nothing {
        fn flush(
            self: Arc<Self>,
            _: Caller,
            _: Vec<Effect>,
        ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(std::future::ready(()))
        }

        fn server(&self) -> u64 {
            0
        }
    }

    fn call(event: &str) -> Call<Arc<Handler>> {
        let config = DashboardConfig { enabled: true, token: None };
        let serves = Serves::Dashboard(Arc::new(Dashboard::new(config, Arc::<History>::default())));
        let pattern = TopicPattern::parse("room:*").unwrap();
        let context = Channel {
            connection: 1,
            channel: 2,
            topic: "room:a".into(),
            join_ref: None,
            sent_join_ref: None,
            join_message_ref: None,
            user_id: None,
        };
        let caller = Caller { context: Arc::new(context), reply_to: None, number: 0 };
        let (event, payload) = (event.into(), Payload::empty());
        Call {
            plugin: Arc::new(Arc::new(Handler::new(pattern, serves, &Metrics::none()))),
            callback: Callback::HandleIn { event, payload, wants_reply: true },
            assigns: Some(Assigns::default()),
            ticket: Ticket { caller, turn: Turn::Message, bytes: 0 },
        }
    }

    #[test]
    fn a_connection_does_not_wait_for_messages_that_were_lost() {
        let returns = Arc::<Returns>::default();
        let run = Run {
            calls: [call("first"), call("second")].into_iter().map(Box::new).collect(),
            progress: Arc::new(Nothing),
            returns: Arc::clone(&returns),
            waker: Some(Waker::noop().clone()),
        };
        let handled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _run = run;
            panic!("while it is handled");
        }));
        assert!(handled.is_err());
        let returned = returns.take();
        let events = returned.called.iter().filter_map(|called| called.event().map(|e| &**e));
        assert_eq!((returned.runs, events.collect::<Vec<_>>()), (1, vec!["first", "second"]));
        for called in returned.called {
            let failure = called.result.as_ref().map_err(Fault::failure).unwrap_err();
            assert!(matches!(failure, Failure::Crashed), "{failure:?}");
        }
    }
}
