//! The exchange between the task of a long-poll session and the requests of its client, which may
//! be on any thread.
//!
//! ```text
//! POST ──frames──▶ ┌──────────┐ ──▶ session
//!  GET ◀─messages─ │ exchange │ ◀── session
//!                  └──────────┘
//! ```

use std::collections::VecDeque;
use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use millrace_telemetry::{Metric, Metrics};
use millrace_wire::Frame;
use tokio::time::Instant;
use tracing::trace;

use super::delivery::{Batch, Delivery};
use crate::net::lock;

/// The frames of the client that wait for the session to read them.
const MAX_FRAMES: usize = 64;
/// The bytes of frames of the client that wait; the last frame may go past it.
const MAX_FRAME_BYTES: usize = 256 * 1024;
/// The bytes of messages that are handed to one poll; the last message may go past it.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// What passes between a session and the requests of its client.
#[derive(Debug)]
pub(crate) struct Exchange {
    inner: Mutex<Inner>,
    /// The lock of POSTs, which come one after the other.
    pub(super) posting: tokio::sync::Mutex<()>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Inner {
    /// The frames of the client that the session has not read.
    frames: VecDeque<Frame>,
    frame_bytes: usize,
    /// The waker of the POST whose frames these are.
    post: Option<Waker>,
    /// The waker of the session's task.
    session: Option<Waker>,
    /// The messages for the client that no poll has taken.
    messages: Vec<Frame>,
    message_bytes: usize,
    /// The poll that waits.
    poll: Option<WaitingPoll>,
    /// The number of polls that have begun.
    polls: u64,
    /// The messages whose answer is being written.
    in_flight: Option<Vec<Frame>>,
    /// The bytes of the messages that were written.
    delivered: u64,
    /// The time at which the last poll ended.
    polled_at: Instant,
    /// Whether the session has ended.
    has_ended: bool,
    /// Whether the client has been told of that.
    is_told: bool,
}

#[derive(Debug)]
struct WaitingPoll {
    number: u64,
    waker: Option<Waker>,
}

/// The state of the frames of a POST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The session has read all of them.
    Read,
    /// The session has ended.
    Gone,
}

/// The result of a poll.
#[derive(Debug)]
pub(crate) enum Polled {
    /// Messages for the client.
    Messages(Batch),
    /// Another poll has taken the place of this one.
    Superseded,
    /// The session has ended.
    Ended,
}

impl Exchange {
    /// The exchange of a new session.
    pub(super) fn new(metrics: Metrics) -> Arc<Self> {
        let inner = Inner {
            frames: VecDeque::new(),
            frame_bytes: 0,
            post: None,
            session: None,
            messages: Vec::new(),
            message_bytes: 0,
            poll: None,
            polls: 0,
            in_flight: None,
            delivered: 0,
            polled_at: Instant::now(),
            has_ended: false,
            is_told: false,
        };
        let posting = tokio::sync::Mutex::default();
        Arc::new(Self { inner: Mutex::new(inner), posting, metrics })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
}

// === impl Exchange: the session's side ===

impl Exchange {
    /// The next frame of the client.
    pub(crate) fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Frame> {
        let mut inner = self.lock();
        let Some(frame) = inner.frames.pop_front() else {
            register(&mut inner.session, cx);
            return Poll::Pending;
        };
        inner.frame_bytes -= frame.len();
        let post = inner.frames.is_empty().then(|| inner.post.take()).flatten();
        drop(inner);
        wake(post);
        Poll::Ready(frame)
    }

    /// Whether no further frame waits.
    pub(crate) fn is_read(&self) -> bool {
        self.lock().frames.is_empty()
    }

    /// Ready while a poll waits that has room for a message.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_awaited() && inner.message_bytes < MAX_BATCH_BYTES {
            return Poll::Ready(());
        }
        let poll = inner.poll_to_wake();
        register(&mut inner.session, cx);
        drop(inner);
        wake(poll);
        Poll::Pending
    }

    /// Adds a message for the client.
    pub(crate) fn push(&self, message: Frame) {
        let mut inner = self.lock();
        inner.message_bytes += message.len();
        inner.messages.push(message);
    }

    /// Ready when no message waits, or a poll is about to take them.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        // A batch may have come back later.
        register(&mut inner.session, cx);
        if inner.messages.is_empty() {
            return Poll::Ready(());
        }
        let is_awaited = inner.is_awaited();
        let poll = inner.poll_to_wake();
        drop(inner);
        wake(poll);
        if is_awaited { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The bytes of the messages that were written.
    pub(crate) fn delivered(&self) -> u64 {
        self.lock().delivered
    }

    /// The time at which the last poll ended, which is now while one waits or is answered.
    pub(crate) fn polled_at(&self) -> Instant {
        let inner = self.lock();
        let is_polled = inner.poll.is_some() || inner.in_flight.is_some();
        if is_polled { Instant::now() } else { inner.polled_at }
    }

    /// Ends the session: no more frames are taken, and polls only get what is there.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        inner.has_ended = true;
        inner.frames.clear();
        inner.frame_bytes = 0;
        let wakers = [inner.post.take(), inner.poll.as_mut().and_then(|poll| poll.waker.take())];
        drop(inner);
        wakers.into_iter().for_each(wake);
    }

    /// Ready when the client has got all messages, and has been told of the end.
    pub(crate) fn poll_told(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_told && inner.messages.is_empty() && inner.in_flight.is_none() {
            return Poll::Ready(());
        }
        register(&mut inner.session, cx);
        Poll::Pending
    }
}

// === impl Exchange: the requests' side ===

impl Exchange {
    /// Hands as many frames to the session as there is room for; ready when it has read them all.
    /// The lock of POSTs has to be held.
    pub(super) fn poll_post(
        &self,
        frames: &mut VecDeque<Frame>,
        cx: &mut Context<'_>,
    ) -> Poll<Posted> {
        let mut inner = self.lock();
        if inner.has_ended {
            return Poll::Ready(Posted::Gone);
        }
        while inner.frames.len() < MAX_FRAMES
            && inner.frame_bytes < MAX_FRAME_BYTES
            && let Some(frame) = frames.pop_front()
        {
            inner.frame_bytes += frame.len();
            inner.frames.push_back(frame);
        }
        if inner.frames.is_empty() {
            return Poll::Ready(Posted::Read);
        }
        register(&mut inner.post, cx);
        let session = inner.session.take();
        drop(inner);
        wake(session);
        Poll::Pending
    }

    /// Takes back the frames that the session has not read.
    pub(super) fn take_back(&self) {
        let mut inner = self.lock();
        inner.frames.clear();
        inner.frame_bytes = 0;
        inner.post = None;
    }

    /// Begins a poll, which takes the place of the one that waits.
    pub(super) fn begin_poll(&self) -> u64 {
        let mut inner = self.lock();
        inner.polls += 1;
        let number = inner.polls;
        let before = inner.poll.replace(WaitingPoll { number, waker: None });
        let session = inner.session.take();
        drop(inner);
        wake(before.and_then(|poll| poll.waker));
        wake(session);
        number
    }

    /// The result of the poll of this number.
    pub(super) fn poll_messages(
        self: &Arc<Self>,
        number: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Polled> {
        let mut inner = self.lock();
        let Some(poll) = inner.poll.as_mut().filter(|poll| poll.number == number) else {
            return Poll::Ready(Polled::Superseded);
        };
        register(&mut poll.waker, cx);
        if inner.in_flight.is_some() {
            // An answer is being written; its messages may come back.
            return Poll::Pending;
        }
        if inner.messages.is_empty() {
            if !inner.has_ended {
                return Poll::Pending;
            }
            inner.poll = None;
            inner.is_told = true;
            let session = inner.session.take();
            drop(inner);
            wake(session);
            return Poll::Ready(Polled::Ended);
        }
        let messages = take(&mut inner.messages);
        let bytes = take(&mut inner.message_bytes);
        inner.in_flight = Some(messages.clone());
        inner.poll = None;
        drop(inner);
        trace!(number, bytes, "a poll takes messages");
        let delivery = Delivery::new(Arc::clone(self), bytes);
        Poll::Ready(Polled::Messages(Batch { messages, delivery }))
    }

    /// Ends a poll that has taken nothing.
    pub(super) fn end_poll(&self, number: u64) {
        let mut inner = self.lock();
        if inner.poll.take_if(|poll| poll.number == number).is_some() {
            inner.polled_at = Instant::now();
            let session = inner.session.take();
            drop(inner);
            wake(session);
        }
    }

    /// Notes that the answer with the messages in flight was written.
    pub(super) fn delivered_now(&self, bytes: usize) {
        let mut inner = self.lock();
        inner.in_flight = None;
        inner.delivered += bytes as u64;
        self.answered(inner);
    }

    /// Puts the messages in flight in front of those that wait: their answer was not written.
    pub(super) fn put_back(&self) {
        self.metrics.count(Metric::LongPollReturned, 1);
        let mut inner = self.lock();
        let mut messages = inner.in_flight.take().unwrap_or_default();
        inner.message_bytes += messages.iter().map(Frame::len).sum::<usize>();
        messages.append(&mut inner.messages);
        inner.messages = messages;
        self.answered(inner);
    }

    /// Wakes whoever waits for the end of an answer.
    fn answered(&self, mut inner: MutexGuard<'_, Inner>) {
        inner.polled_at = Instant::now();
        let wakers = [inner.session.take(), inner.poll.as_mut().and_then(|poll| poll.waker.take())];
        drop(inner);
        wakers.into_iter().for_each(wake);
    }
}

impl Inner {
    /// Whether a poll waits that can take messages.
    fn is_awaited(&self) -> bool {
        self.poll.is_some() && self.in_flight.is_none()
    }

    /// The waker of the poll, if it waits and there are messages for it.
    fn poll_to_wake(&mut self) -> Option<Waker> {
        if self.messages.is_empty() || !self.is_awaited() {
            return None;
        }
        self.poll.as_mut().and_then(|poll| poll.waker.take())
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *place = Some(cx.waker().clone());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
