//! Calls of one connection that were not ready at once.

use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use millrace_session::channel::ChannelId;

use super::{FinishedCall, PendingCall};

/// All of them. Few connections have any at an instant, and those that have none take no
/// memory for it: a set that is empty has two hundred bytes of its own.
#[derive(Default)]
pub(super) struct PendingCalls(Option<Box<FuturesUnordered<PendingCall>>>);

impl PendingCalls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds one, which has been polled.
    pub(super) fn push(&mut self, call: PendingCall) {
        self.0.get_or_insert_default().push(call);
    }

    /// Drops those of a channel; how many there were.
    pub(super) fn drop_of(&mut self, channel: ChannelId) -> usize {
        let Some(calls) = self.0.take() else { return 0 };
        let before = calls.len();
        let others = calls.into_iter().filter(|call| call.channel != channel);
        others.for_each(|call| self.push(call));
        before - self.0.as_ref().map_or(0, |calls| calls.len())
    }

    /// The next that ends; `None` when there is none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<FinishedCall>> {
        let Some(calls) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(calls.poll_next_unpin(cx));
        self.0.take_if(|calls| calls.is_empty());
        Poll::Ready(next)
    }
}
