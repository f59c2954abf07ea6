//! The bounded queue in front of one connection.
//!
//! Everything that goes to a client, from whichever task, goes through its
//! outbox, and so keeps one order. The connection's task is the only reader.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::channel::Late;
use crate::pubsub::Notice;
use crate::wire::{CloseReason, Frame};

/// What a connection's task finds in its outbox.
#[derive(Debug)]
pub enum Outgoing {
    /// To be written.
    Frame(Frame),
    /// To be taken to a channel.
    Notice(Notice),
    /// To be taken to a channel's client.
    Late(Box<Late>),
}

/// The queue of one connection, bounded in bytes (`socket.outbox_bytes`).
///
/// At the bound the connection is closed with 1013 rather than anything else
/// dropped: a client that missed a message must know, and a new connection
/// tells it.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    capacity_bytes: usize,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    waker: Option<Waker>,
    closed: Option<CloseReason>,
}

/// What one entry costs besides its frame's bytes, which broadcasts share.
const ENTRY_BYTES: usize = size_of::<Outgoing>();

impl Outbox {
    /// An empty outbox for `capacity_bytes` of frames.
    #[must_use]
    pub fn new(capacity_bytes: usize) -> Self {
        Self { inner: Mutex::default(), capacity_bytes }
    }

    /// Queues a frame. False when the connection is closing, or now has to.
    pub fn push(&self, frame: Frame) -> bool {
        let bytes = frame.len();
        let (queued, inner) = self.put(Outgoing::Frame(frame), bytes);
        wake(inner);
        queued
    }

    /// As [`Self::push`], from the connection's own task, which looks into its
    /// outbox before it rests: waking it would cost it a turn for nothing.
    pub fn push_own(&self, frame: Frame) -> bool {
        let bytes = frame.len();
        self.put(Outgoing::Frame(frame), bytes).0
    }

    /// Queues a notice. False as for [`Self::push`].
    pub fn notify(&self, notice: Notice) -> bool {
        let bytes = notice.broadcast.payload.len();
        let (queued, inner) = self.put(Outgoing::Notice(notice), bytes);
        wake(inner);
        queued
    }

    /// Queues something for a channel's client, or gives it back when the
    /// connection is closing, or now has to.
    pub fn late(&self, late: Late) -> Result<(), Late> {
        let bytes = late.bytes();
        let mut inner = self.lock();
        if !self.has_room(&mut inner, bytes) {
            wake(inner);
            return Err(late);
        }
        inner.bytes += bytes + ENTRY_BYTES;
        inner.queue.push_back(Outgoing::Late(Box::new(late)));
        wake(inner);
        Ok(())
    }

    /// What else was queued when the connection closed.
    pub fn take_late(&self) -> Vec<Late> {
        let queue = std::mem::take(&mut self.lock().queue);
        let late = queue.into_iter().filter_map(|outgoing| match outgoing {
            Outgoing::Late(late) => Some(*late),
            Outgoing::Frame(_) | Outgoing::Notice(_) => None,
        });
        late.collect()
    }

    /// Asks the connection's task to close. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        inner.closed.get_or_insert(reason);
        wake(inner);
    }

    /// Moves what is queued into `into`, up to about `max_bytes`. Pending when
    /// there is nothing; an error once the connection has to close, which comes
    /// before anything still queued.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Outgoing>,
        max_bytes: usize,
    ) -> Poll<Result<(), CloseReason>> {
        let mut inner = self.lock();
        if let Some(reason) = inner.closed {
            return Poll::Ready(Err(reason));
        }
        if inner.queue.is_empty() {
            inner.register(cx.waker());
            return Poll::Pending;
        }
        if inner.bytes <= max_bytes && into.is_empty() {
            std::mem::swap(&mut inner.queue, into);
            inner.bytes = 0;
            return Poll::Ready(Ok(()));
        }
        let mut taken = 0;
        while taken <= max_bytes {
            let Some(outgoing) = inner.queue.pop_front() else { break };
            taken += outgoing.bytes();
            into.push_back(outgoing);
        }
        inner.bytes = inner.bytes.saturating_sub(taken);
        Poll::Ready(Ok(()))
    }

    /// Ready once the connection has to close; for a reader that cannot take
    /// anything.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut inner = self.lock();
        match inner.closed {
            Some(reason) => Poll::Ready(reason),
            None => {
                inner.register(cx.waker());
                Poll::Pending
            }
        }
    }

    fn put(&self, outgoing: Outgoing, bytes: usize) -> (bool, MutexGuard<'_, Inner>) {
        let mut inner = self.lock();
        if !self.has_room(&mut inner, bytes) {
            return (false, inner);
        }
        inner.bytes += bytes + ENTRY_BYTES;
        inner.queue.push_back(outgoing);
        (true, inner)
    }

    /// Whether an entry of so many bytes may be queued. If it finds no room,
    /// the connection has to close.
    fn has_room(&self, inner: &mut Inner, bytes: usize) -> bool {
        if inner.closed.is_some() {
            return false;
        }
        // A frame alone always finds room: its size is bounded elsewhere.
        if inner.bytes > 0 && inner.bytes + bytes + ENTRY_BYTES > self.capacity_bytes {
            inner.closed = Some(CloseReason::Overloaded);
            // Calls wait for what they flush.
            inner.queue.retain(|outgoing| matches!(outgoing, Outgoing::Late(_)));
            return false;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

impl Outgoing {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Frame(frame) => frame.len(),
                Self::Notice(notice) => notice.broadcast.payload.len(),
                Self::Late(late) => late.bytes(),
            }
    }
}

/// Wakes the reader after the lock is released, so that it does not run into
/// it.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.waker.take();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll(outbox: &Outbox, into: &mut VecDeque<Outgoing>) -> Poll<Result<(), CloseReason>> {
        outbox.poll_take(&mut Context::from_waker(Waker::noop()), into, 1 << 20)
    }

    #[test]
    fn frames_come_out_in_order() {
        let (outbox, mut taken) = (Outbox::new(1000), VecDeque::new());
        assert!(poll(&outbox, &mut taken).is_pending());
        assert!(outbox.push(Frame::from("a".to_owned())));
        assert!(outbox.push(Frame::from("b".to_owned())));
        assert_eq!(poll(&outbox, &mut taken), Poll::Ready(Ok(())));
        let texts: Vec<_> = taken
            .iter()
            .map(|outgoing| match outgoing {
                Outgoing::Frame(Frame::Text(text)) => text.as_str(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts, ["a", "b"]);
    }

    #[test]
    fn a_full_outbox_closes_the_connection_and_lets_go_of_its_memory() {
        let (outbox, mut taken) = (Outbox::new(1000), VecDeque::new());
        let frame = Frame::from("x".repeat(400));
        assert!(outbox.push(frame.clone()));
        assert!(outbox.push(frame.clone()));
        assert!(!outbox.push(frame.clone()));
        assert!(!outbox.push(Frame::from(String::new())));
        assert_eq!(poll(&outbox, &mut taken), Poll::Ready(Err(CloseReason::Overloaded)));
        assert!(outbox.lock().queue.is_empty());
    }
}
