//! The bounded queue in front of one connection.
//!
//! Everything that is sent to a client, by whichever task, goes through its outbox, and so keeps
//! one order. The connection's task is the only reader.

mod outgoing;
mod overflow;
mod request;
#[cfg(test)]
mod tests;
mod wake_queue;

pub(crate) use outgoing::{Conflated, Outgoing, Queued};
pub use overflow::Overflow;
pub(crate) use overflow::OverflowPolicies;
pub(crate) use request::Request;
pub(crate) use wake_queue::{WakeQueue, run as run_wake_queue};

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smol_str::SmolStr;

use millrace_session::channel::Notice;
use millrace_telemetry::OutboxMeters;
use millrace_wire::{CloseReason, Frame};

use outgoing::{ENTRY_BYTES, Key};

/// The queue of one connection, limited in bytes (`socket.outbox_bytes`). At the limit, the
/// [`Overflow`] policy of the topic decides what is dropped.
///
/// A client counts as slow only while the system takes nothing of what is written to it, because
/// the client does not read. Frames that were queued since the connection had its last turn do not
/// show that the client is slow, so they may have more bytes: up to `burst_bytes`. The last frame
/// may go past either limit, whatever its size. So may the client's own replies: while they wait,
/// nothing more is read from it.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    /// Whether the connection is asked to finish what it is doing, and close.
    draining: AtomicBool,
    capacity_bytes: usize,
    burst_bytes: usize,
    meters: Arc<OutboxMeters>,
    /// The way to wake the reader from other threads.
    wake_queue: Option<Arc<WakeQueue>>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// The number of entries that were taken since the start, which is the number of the first
    /// entry that waits.
    first: u64,
    /// The numbers of the conflated entries that wait, by key.
    #[expect(clippy::box_collection, reason = "few connections have one: 8 bytes, not 48")]
    latest: Option<Box<HashMap<Key, u64>>>,
    waker: Option<Waker>,
    /// Whether the system takes nothing of what is written.
    stalled: bool,
    closed: Option<CloseReason>,
}

impl Outbox {
    /// Makes an empty outbox for `capacity_bytes` of frames, or for `burst_bytes` (if that is more)
    /// of frames that come at once. Its reader has to be on this thread.
    #[must_use]
    pub(crate) fn new(
        capacity_bytes: usize,
        burst_bytes: usize,
        meters: Arc<OutboxMeters>,
    ) -> Self {
        let (inner, draining, wake_queue) =
            (Mutex::default(), AtomicBool::new(false), WakeQueue::here());
        let burst_bytes = burst_bytes.max(capacity_bytes);
        Self { inner, draining, capacity_bytes, burst_bytes, meters, wake_queue }
    }

    /// Queues a frame. False when the connection is closing, or has to close now.
    pub fn push(&self, frame: Frame) -> bool {
        let (queued, inner) = self.put(Outgoing::Frame(frame.into()));
        self.wake(inner);
        queued
    }

    /// Queues a frame of the connection's own task: a reply or push to its client. The task looks
    /// into its outbox before it waits, so it is not woken. There is always room.
    pub fn push_own(&self, frame: Frame) -> bool {
        let mut inner = self.lock();
        if inner.closed.is_some() {
            return false;
        }
        let outgoing = Outgoing::Frame(frame.into());
        inner.bytes += outgoing.bytes();
        inner.queue.push_back(outgoing);
        true
    }

    /// Queues a push or broadcast under the policy of its topic. False as for [`Self::push`].
    pub fn push_under(
        &self,
        overflow: Overflow,
        queued: Queued,
        topic: &Arc<str>,
        event: &SmolStr,
    ) -> bool {
        let (room, inner) = match overflow {
            Overflow::Close => self.put(Outgoing::Frame(queued)),
            // The latest change does not stand for those before it.
            Overflow::DropOldest | Overflow::Conflate if is_presence(event) => {
                let key = (Arc::clone(topic), event.clone());
                self.put(Outgoing::Presence(Box::new(Conflated { key, queued })))
            }
            Overflow::DropOldest => self.put(Outgoing::Droppable(queued)),
            Overflow::Conflate => self.conflate((Arc::clone(topic), event.clone()), queued),
        };
        self.wake(inner);
        room
    }

    /// Queues a broadcast for a channel that intercepts it. False as for [`Self::push`].
    pub fn notify(&self, notice: Notice) -> bool {
        let (queued, inner) = self.put(Outgoing::Notice(notice));
        self.wake(inner);
        queued
    }

    /// Queues a request to the connection's task.
    ///
    /// # Errors
    ///
    /// The request, when the connection is closing, or has to close now.
    pub fn ask(&self, request: Request) -> Result<(), Request> {
        let mut inner = self.lock();
        let bytes = request.bytes() + ENTRY_BYTES;
        if !self.make_room(&mut inner, bytes) {
            self.wake(inner);
            return Err(request);
        }
        inner.bytes += bytes;
        inner.queue.push_back(Outgoing::Request(Box::new(request)));
        self.wake(inner);
        Ok(())
    }

    /// Takes the requests that were still queued when the connection closed.
    pub fn take_requests(&self) -> Vec<Request> {
        let queue = std::mem::take(&mut self.lock().queue);
        let requests = queue.into_iter().filter_map(|outgoing| match outgoing {
            Outgoing::Request(request) => Some(*request),
            _ => None,
        });
        requests.collect()
    }

    /// The bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Asks the connection's task to close. The first reason counts.
    pub fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        inner.closed.get_or_insert(reason);
        self.wake(inner);
    }

    /// Asks the connection's task to finish its calls, write what is queued and close with 1012.
    pub fn drain(&self) {
        let inner = self.lock();
        self.draining.store(true, Ordering::Release);
        self.wake(inner);
    }

    /// Whether [`Self::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Wakes the reader, which has something to do.
    pub fn nudge(&self) {
        let inner = self.lock();
        self.wake(inner);
    }

    /// Moves entries to `into`, up to about `max_bytes`. Returns true when nothing is left; then
    /// the reader is woken for the next entry. Pending when there is nothing. An error once the
    /// connection has to close, which goes before everything that is still queued.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Outgoing>,
        max_bytes: usize,
    ) -> Poll<Result<bool, CloseReason>> {
        let mut inner = self.lock();
        inner.stalled = false;
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
            inner.first += into.len() as u64;
            inner.latest = None;
            inner.register(cx.waker());
            return Poll::Ready(Ok(true));
        }
        let mut taken = 0;
        while taken <= max_bytes {
            let Some(outgoing) = inner.queue.pop_front() else { break };
            taken += outgoing.bytes();
            inner.first += 1;
            if let (Outgoing::Conflated(conflated), Some(latest)) = (&outgoing, &mut inner.latest) {
                latest.remove(&conflated.key);
            }
            into.push_back(outgoing);
        }
        inner.bytes = inner.bytes.saturating_sub(taken);
        Poll::Ready(Ok(false))
    }

    /// Ready once the connection has to close. For a reader that takes no entries, as the system
    /// takes nothing of what it writes: from now on the client counts as slow.
    pub fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        let mut inner = self.lock();
        inner.stalled = true;
        match inner.closed {
            Some(reason) => Poll::Ready(reason),
            None => {
                inner.register(cx.waker());
                Poll::Pending
            }
        }
    }

    fn put(&self, outgoing: Outgoing) -> (bool, MutexGuard<'_, Inner>) {
        let mut inner = self.lock();
        let bytes = outgoing.bytes();
        let room = self.make_room(&mut inner, bytes);
        if room {
            inner.bytes += bytes;
            inner.queue.push_back(outgoing);
        }
        (room, inner)
    }

    /// Replaces the frame that waits under `key`, or queues the new one.
    fn conflate(&self, key: Key, queued: Queued) -> (bool, MutexGuard<'_, Inner>) {
        let mut inner = self.lock();
        if let Some(waiting) = inner.waiting(&key) {
            let (before, after) = (waiting.queued.frame.len(), queued.frame.len());
            waiting.queued = queued;
            inner.bytes = inner.bytes + after - before;
            self.meters.conflate.add(1);
            let room = self.make_room(&mut inner, 0);
            return (room, inner);
        }
        let outgoing = Outgoing::Conflated(Box::new(Conflated { key: key.clone(), queued }));
        let bytes = outgoing.bytes();
        let room = self.make_room(&mut inner, bytes);
        if room {
            let number = inner.first + inner.queue.len() as u64;
            inner.latest.get_or_insert_default().insert(key, number);
            inner.bytes += bytes;
            inner.queue.push_back(outgoing);
        }
        (room, inner)
    }

    /// Makes room for an entry of `bytes`, and drops others for it if that is needed. If there is
    /// no room even then, the connection has to close.
    fn make_room(&self, inner: &mut Inner, bytes: usize) -> bool {
        if inner.closed.is_some() {
            return false;
        }
        if inner.bytes + bytes <= self.capacity_bytes {
            return true;
        }
        // Drops a little more than needed, so that not every frame has to.
        let wanted = (self.capacity_bytes - self.capacity_bytes / 8).saturating_sub(bytes);
        let dropped = inner.drop_oldest(wanted);
        if dropped > 0 {
            self.meters.drop_oldest.add(i64::try_from(dropped).unwrap_or(i64::MAX));
        }
        // The last frame may go past the limit: its own size is limited elsewhere.
        let bound = if inner.stalled { self.capacity_bytes } else { self.burst_bytes };
        if inner.bytes <= bound {
            return true;
        }
        self.meters.close.add(1);
        inner.closed = Some(CloseReason::Overloaded);
        // Requests stay: a call that has flushed effects waits until they are applied.
        inner.queue.retain(|outgoing| matches!(outgoing, Outgoing::Request(_)));
        inner.latest = None;
        false
    }

    /// Wakes the reader after the lock is released, so that the reader does not wait for it.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let waker = inner.waker.take();
        drop(inner);
        match (waker, &self.wake_queue) {
            (Some(waker), Some(wake_queue)) => wake_queue.wake(waker),
            (Some(waker), None) => waker.wake(),
            (None, _) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an event is one of the server's, about who is present.
fn is_presence(event: &str) -> bool {
    matches!(event, "presence_diff" | "presence_state" | "presence_count")
}

impl Inner {
    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }

    /// The conflated entry that waits under `key`.
    fn waiting(&mut self, key: &Key) -> Option<&mut Conflated> {
        let number = *self.latest.as_ref()?.get(key)?;
        let place = usize::try_from(number - self.first).ok()?;
        match self.queue.get_mut(place)? {
            Outgoing::Conflated(conflated) => Some(conflated),
            _ => None,
        }
    }

    /// Has the connection's task send who is present on a topic, behind what waits now; once for all
    /// changes that are dropped until then.
    fn ask_for_presences(&mut self, topic: Arc<str>) {
        let is_it = |outgoing: &Outgoing| match outgoing {
            Outgoing::Request(request) => {
                matches!(&**request, Request::Presences(asked) if *asked == topic)
            }
            _ => false,
        };
        if !self.queue.iter().any(is_it) {
            let request = Outgoing::Request(Box::new(Request::Presences(topic)));
            self.bytes += request.bytes();
            self.queue.push_back(request);
        }
    }

    /// Drops the oldest droppable entries until at most `wanted` bytes are left, or no such entry.
    /// Returns the number of dropped entries.
    fn drop_oldest(&mut self, wanted: usize) -> usize {
        let before = self.queue.len();
        let mut bytes = self.bytes;
        let mut presences: Vec<Arc<str>> = Vec::new();
        self.queue.retain(|outgoing| {
            let is_droppable = matches!(outgoing, Outgoing::Droppable(_) | Outgoing::Presence(_));
            if bytes <= wanted || !is_droppable {
                return true;
            }
            bytes -= outgoing.bytes();
            if let Outgoing::Presence(presence) = outgoing
                && !presences.contains(&presence.key.0)
            {
                presences.push(Arc::clone(&presence.key.0));
            }
            false
        });
        self.bytes = bytes;
        let dropped = before - self.queue.len();
        for topic in presences {
            self.ask_for_presences(topic);
        }
        if let (Some(latest), true) = (&mut self.latest, dropped > 0) {
            for (outgoing, number) in self.queue.iter().zip(self.first..) {
                if let Outgoing::Conflated(conflated) = outgoing {
                    latest.insert(conflated.key.clone(), number);
                }
            }
        }
        dropped
    }
}
