//! Messages that were read together, handed to their plugins together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use super::channels::{Called, Channels, PendingCall};
use crate::channel::{Callback, Completion, Progress};
use crate::plugin::{Handler, Plugin};
use crate::session::Call;
use crate::wasm::{BatchMessage, Fault, Pool, Progressed};

/// Messages handed over in one call.
pub(super) const MOST_GATHERED: usize = 64;

/// Whether a call is for a message of the client that a plugin handles.
pub(super) fn is_message(call: &Call<Arc<Handler>>) -> bool {
    // The bench without plugins answers at once.
    !cfg!(feature = "bench-native")
        && matches!(call.callback, Callback::HandleIn { .. })
        && call.plugin.plugin().is_some()
}

impl Channels {
    /// Has the messages handled that were gathered, and those that wait behind them.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        self.unflushed = 0;
        while !self.gathered.is_empty() {
            let mut queue = VecDeque::from(std::mem::take(&mut self.gathered));
            while let Some(first) = queue.pop_front() {
                match self.version_for(&first) {
                    Some(version) => self.handle_all(first, &version, &mut queue, cx),
                    None => self.call(first, cx),
                }
            }
            self.act(cx);
        }
    }

    /// The version that can take a message together with others.
    fn version_for(&self, call: &Call<Arc<Handler>>) -> Option<Arc<Pool>> {
        let plugin = call.plugin.plugin()?;
        let version = plugin.version_for(self.connection());
        self.fits(call, &version).then_some(version)
    }

    fn fits(&self, call: &Call<Arc<Handler>>, version: &Pool) -> bool {
        let context = &call.ticket.caller.context;
        let reads = call.assigns.as_ref().is_some_and(|a| version.takes(&context.topic, a));
        reads && !self.kept.contains_key(&context.channel) && self.account.admit().is_ok()
    }

    /// Has the first message handled, and with it those behind it and in the queue that
    /// can be. What is left of them comes back to the front of the queue.
    fn handle_all(
        &mut self,
        first: Call<Arc<Handler>>,
        version: &Arc<Pool>,
        queue: &mut VecDeque<Call<Arc<Handler>>>,
        cx: &mut Context<'_>,
    ) {
        let mut calls = Vec::new();
        let mut next = Some(first);
        while let Some(call) = next {
            let context = Arc::clone(&call.ticket.caller.context);
            let plugin = Arc::clone(&call.plugin);
            calls.push(call);
            self.session.follow(&context, MOST_GATHERED, &mut calls);
            next = queue.pop_front_if(|next| {
                calls.len() < MOST_GATHERED
                    && is_same(next.plugin.plugin(), plugin.plugin())
                    && self.fits(next, version)
            });
        }
        let progress = Arc::clone(&self.account) as Arc<dyn Progress>;
        let messages = calls.iter().filter_map(|call| message(call, &progress));
        let progressed = Arc::clone(version).handle_all(messages, cx);
        let mut calls = calls.into_iter();
        let Some(Progressed { handled, waits }) = progressed else {
            let first = calls.next();
            self.not_made(calls, queue);
            if let Some(first) = first {
                self.call(first, cx);
            }
            return;
        };
        let made: Vec<_> = calls.by_ref().take(handled.len()).collect();
        let waiting = waits.and_then(|waits| Some((calls.next()?, waits)));
        self.not_made(calls, queue);
        for (call, (result, took)) in made.into_iter().zip(handled) {
            self.completed(called(call, result, took));
        }
        if let Some((call, waits)) = waiting {
            let channel = call.ticket.caller.context.channel;
            let future = Box::pin(async move {
                let (result, took) = waits.await;
                called(call, result, took)
            });
            self.calls.push(PendingCall { channel, future });
        }
    }

    /// Calls that could not be made with those before them: messages that have to see
    /// what these come to wait for it, the others are next.
    fn not_made(
        &mut self,
        calls: impl Iterator<Item = Call<Arc<Handler>>>,
        queue: &mut VecDeque<Call<Arc<Handler>>>,
    ) {
        let (first, behind): (Vec<_>, Vec<_>) = calls.partition(|call| call.assigns.is_some());
        self.session.put_back(behind.into_iter());
        for call in first.into_iter().rev() {
            queue.push_front(call);
        }
    }
}

fn is_same(one: Option<&Arc<Plugin>>, other: Option<&Arc<Plugin>>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if Arc::ptr_eq(one, other))
}

fn message<'a>(
    call: &'a Call<Arc<Handler>>,
    progress: &'a Arc<dyn Progress>,
) -> Option<BatchMessage<'a>> {
    let Callback::HandleIn { event, payload, wants_reply } = &call.callback else { return None };
    let (caller, assigns) = (&call.ticket.caller, call.assigns.as_ref());
    Some(BatchMessage { caller, progress, assigns, event, payload, wants_reply: *wants_reply })
}

fn called(
    call: Call<Arc<Handler>>,
    result: Result<Completion, Fault>,
    took: Duration,
) -> Called {
    let Call { plugin: handler, callback, ticket, .. } = call;
    let event = match callback {
        Callback::HandleIn { event, .. } => Some(event),
        _ => None,
    };
    Called { ticket, handler, result, event, took, kept: None }
}
