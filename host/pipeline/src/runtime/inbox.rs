//! The pipeline's lock, and the events that come while somebody holds it.
//!
//! A dispatcher that is a plugin computes under the lock. A thread that serves connections must
//! not wait for that: it leaves its event in the inbox, and whoever releases the lock takes it
//! from there.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::sleep;

use super::{Inner, Pending, Pipeline};
use crate::core::Refused;
use crate::event::{NewEvent, Now};

/// Events that wait for the lock, at most [`MAX_EVENTS`] and [`MAX_BYTES`]. An event that finds
/// no room here is refused, as if the buffer were full.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    has_any: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<NewEvent>,
    /// The size of the payloads in bytes.
    bytes: usize,
    /// The number of events that found no room here.
    rejected: usize,
}

/// The number of events in an inbox at most: about as many as come while a dispatcher computes
/// for as long as it may.
const MAX_EVENTS: usize = 1_024;
/// The size of the payloads in an inbox at most, in bytes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

impl Inbox {
    fn put(&self, event: NewEvent) -> Result<(), NewEvent> {
        let mut waiting = self.waiting();
        self.has_any.store(true, Ordering::SeqCst);
        let bytes = waiting.bytes.saturating_add(event.payload.len());
        // An event that is larger than the bound is taken if it is the only one.
        let has_room = waiting.events.is_empty() || bytes <= MAX_BYTES;
        if waiting.events.len() >= MAX_EVENTS || !has_room {
            waiting.rejected += 1;
            return Err(event);
        }
        waiting.bytes = bytes;
        waiting.events.push_back(event);
        Ok(())
    }

    fn take(&self) -> Waiting {
        let mut waiting = self.waiting();
        self.has_any.store(false, Ordering::SeqCst);
        std::mem::take(&mut *waiting)
    }

    fn has_any(&self) -> bool {
        self.has_any.load(Ordering::SeqCst)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The guard of the pipeline's lock. Its fields are dropped in their order: first the lock is
/// released, then the inbox is drained. So no event is left behind: either this guard sees it, or
/// [`Pipeline::post`], which tries the lock once more after it has left the event.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    inner: MutexGuard<'a, Inner>,
    _drain: DrainOnDrop<'a>,
}

#[derive(Debug)]
struct DrainOnDrop<'a>(&'a Pipeline);

impl Deref for Locked<'_> {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Inner {
        &mut self.inner
    }
}

impl Drop for DrainOnDrop<'_> {
    fn drop(&mut self) {
        self.0.drain_inbox();
    }
}

/// The time between two looks of [`Pipeline::unlocked`] at the lock.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The number of looks after which [`Pipeline::unlocked`] returns although the lock is held.
const MAX_LOOKS: usize = 200;

impl Pipeline {
    /// Takes the lock, and blocks the thread until it is free.
    pub(super) fn lock(&self) -> Locked<'_> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { inner, _drain: DrainOnDrop(self) }
    }

    /// Enqueues an event, and never waits for the lock: for threads that serve connections. If
    /// somebody holds the lock, the event goes to the inbox, and when it then finds no room in
    /// the buffer, [`EffectSink::refused`] gets it.
    ///
    /// # Errors
    ///
    /// The event itself, when there is no room for it or it is larger than
    /// [`Self::max_event_bytes`].
    ///
    /// [`EffectSink::refused`]: super::EffectSink::refused
    pub fn post(&self, mut event: NewEvent) -> Result<(), NewEvent> {
        let Some(inner) = self.try_lock() else {
            self.classify(std::slice::from_mut(&mut event));
            self.inbox.put(event)?;
            // The holder may have released the lock before the event was there.
            self.drain_inbox();
            return Ok(());
        };
        drop(inner);
        match self.enqueue(vec![event]).refused.pop() {
            Some((_, event)) => Err(event),
            None => Ok(()),
        }
    }

    /// Waits until nobody holds the lock, 200 ms at most, without blocking a thread. Who takes
    /// the lock after that may still have to wait for it.
    pub(super) async fn unlocked(&self) {
        for _ in 0..MAX_LOOKS {
            if self.try_lock().is_some() {
                return;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Inner>> {
        match self.inner.try_lock() {
            Ok(inner) => Some(inner),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Accepts the events of the inbox if the lock is free. If it is not, its holder does.
    fn drain_inbox(&self) {
        while self.inbox.has_any() {
            let Some(mut inner) = self.try_lock() else { return };
            let mut pending = Pending::default();
            let now = self.now();
            self.accept_inbox(&mut inner, now, &mut pending);
            inner.core.dispatch_accepted(now);
            pending.collect(&mut inner.core);
            drop(inner);
            self.deliver(&mut pending);
        }
    }

    /// Accepts the events of the inbox. To be called under the lock before other events are
    /// accepted, so that the events of one producer stay in order.
    pub(super) fn accept_inbox(&self, inner: &mut Inner, now: Now, pending: &mut Pending) {
        if !self.inbox.has_any() {
            return;
        }
        let Waiting { events, rejected, .. } = self.inbox.take();
        inner.core.count_rejected(rejected);
        for event in events {
            let [hash, ..] = inner.core.hash_keys(std::slice::from_ref(&event));
            if let Err(Refused(event)) = self.accept_one(inner, event, hash, now) {
                pending.refused.push(event);
            }
        }
    }

    /// Accepts an event if there is room for it and it is not too large. `hash` is the hash of
    /// its key.
    pub(super) fn accept_one(
        &self,
        inner: &mut Inner,
        event: NewEvent,
        hash: u64,
        now: Now,
    ) -> Result<(), Refused> {
        if inner.closed {
            Err(Refused(event))
        } else if event.payload.len() > self.buffer.max_event_bytes {
            inner.core.count_rejected(1);
            Err(Refused(event))
        } else {
            inner.core.accept(event, hash, now)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{BufferSpec, OnFull};

    fn pipeline(size: usize) -> Pipeline {
        Pipeline::of_test(BufferSpec::of_test(size, OnFull::Reject))
    }

    fn event(text: &str) -> NewEvent {
        NewEvent { payload: Bytes::from(text.to_owned()), ..NewEvent::default() }
    }

    #[test]
    fn an_event_that_comes_while_the_lock_is_held_is_taken_when_it_is_free() {
        let pipeline = pipeline(10);
        let held = pipeline.lock();
        pipeline.post(event("1")).unwrap();
        pipeline.post(event("2")).unwrap();
        assert_eq!(held.core.totals().accepted, 0);
        drop(held);
        pipeline.post(event("3")).unwrap();
        let totals = pipeline.totals();
        assert_eq!((totals.accepted, totals.buffered, totals.rejected), (3, 3, 0));
    }

    #[test]
    fn one_that_finds_no_room_after_all_is_counted_as_rejected() {
        let pipeline = pipeline(1);
        let held = pipeline.lock();
        for text in ["1", "2"] {
            pipeline.post(event(text)).unwrap();
        }
        drop(held);
        let totals = pipeline.totals();
        assert_eq!((totals.accepted, totals.buffered, totals.rejected), (1, 1, 1));
    }

    #[test]
    fn a_full_inbox_is_as_a_full_buffer() {
        let pipeline = pipeline(usize::MAX);
        let held = pipeline.lock();
        for _ in 0..MAX_EVENTS {
            pipeline.post(event("x")).unwrap();
        }
        pipeline.post(event("one too many")).unwrap_err();
        drop(held);
        let totals = pipeline.totals();
        assert_eq!((totals.accepted, totals.rejected), (MAX_EVENTS as u64, 1));
    }

    #[test]
    fn events_of_many_threads_are_all_counted() {
        const THREADS: u64 = 4;
        const EVENTS: u64 = 5_000;
        let pipeline = pipeline(usize::MAX);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..EVENTS {
                        while pipeline.post(event("x")).is_err() {}
                    }
                });
            }
        });
        let totals = pipeline.totals();
        assert_eq!((totals.accepted, totals.buffered), (THREADS * EVENTS, THREADS * EVENTS));
    }
}
