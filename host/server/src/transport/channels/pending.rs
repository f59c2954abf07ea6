//! The calls in flight of one connection, which were not ready at their first poll.

use std::task::{Context, Poll, ready};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use millrace_session::channel::ChannelId;

use super::{FinishedCall, PendingCall};

/// The set of the calls in flight. Few connections have any at one time, and those without
/// have no set either: an empty one takes 200 bytes.
#[derive(Default)]
pub(super) struct PendingCalls(Option<Box<FuturesUnordered<PendingCall>>>);

impl PendingCalls {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds a call that has been polled.
    pub(super) fn push(&mut self, call: PendingCall) {
        self.0.get_or_insert_default().push(call);
    }

    /// Drops the calls of a channel; their number.
    pub(super) fn drop_of(&mut self, channel: ChannelId) -> usize {
        let Some(calls) = self.0.take() else { return 0 };
        let before = calls.len();
        let others = calls.into_iter().filter(|call| call.channel != channel);
        others.for_each(|call| self.push(call));
        before - self.0.as_ref().map_or(0, |calls| calls.len())
    }

    /// The next call that ends; `None` when none is in flight.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<FinishedCall>> {
        let Some(calls) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(calls.poll_next_unpin(cx));
        self.0.take_if(|calls| calls.is_empty());
        Poll::Ready(next)
    }
}
