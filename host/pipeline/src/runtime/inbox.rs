//! The pipeline's lock, and what comes while somebody has it.
//!
//! A dispatcher that is a plugin computes under the lock. A thread of connections must
//! not wait for that: it leaves its event here, and whoever lets go of the lock takes it.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::time::sleep;

use super::{Inner, Pending, Pipeline};
use crate::core::Refused;
use crate::event::{NewEvent, Now};

/// Events that wait for the lock; full, it is as if the buffer were.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    has_any: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<NewEvent>,
    bytes: usize,
    /// Found no room.
    rejected: usize,
}

/// What comes in while a dispatcher computes for as long as it may.
const MOST_EVENTS: usize = 1_024;
const MOST_BYTES: usize = 4 * 1024 * 1024;

impl Inbox {
    fn put(&self, event: NewEvent) -> Result<(), NewEvent> {
        let mut waiting = self.waiting();
        self.has_any.store(true, Ordering::SeqCst);
        let bytes = waiting.bytes.saturating_add(event.payload.len());
        // One that is larger than the bound has it to itself.
        let has_room = waiting.events.is_empty() || bytes <= MOST_BYTES;
        if waiting.events.len() >= MOST_EVENTS || !has_room {
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

/// The lock. Fields are dropped in their order: what came meanwhile is taken once it is
/// free, so that an event is either seen here or by the one that left it, who looks
/// whether the lock is free after that.
#[derive(Debug)]
pub(super) struct Locked<'a> {
    inner: MutexGuard<'a, Inner>,
    _release: Release<'a>,
}

#[derive(Debug)]
struct Release<'a>(&'a Pipeline);

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

impl Drop for Release<'_> {
    fn drop(&mut self) {
        self.0.drain_inbox();
    }
}

/// How often a producer that can wait looks whether the lock is free, and for how long
/// it does before it waits as everybody.
const LOOK_EVERY: Duration = Duration::from_millis(1);
const LOOKS: usize = 200;

impl Pipeline {
    pub(super) fn lock(&self) -> Locked<'_> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        Locked { inner, _release: Release(self) }
    }

    /// Hands over an event of a producer that cannot wait. One that finds no room comes
    /// back: at once, or by way of [`super::EffectSink::refused`].
    pub fn post(&self, mut event: NewEvent) -> Result<(), NewEvent> {
        let Some(inner) = self.try_lock() else {
            self.classify(std::slice::from_mut(&mut event));
            self.inbox.put(event)?;
            // It may be free by now, and nobody else look.
            self.drain_inbox();
            return Ok(());
        };
        drop(inner);
        match self.enqueue(vec![event]).refused.pop() {
            Some((_, event)) => Err(event),
            None => Ok(()),
        }
    }

    /// Waits until nobody has the lock, as far as that can be known, and holds no
    /// thread.
    pub async fn unlocked(&self) {
        for _ in 0..LOOKS {
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

    /// Takes events that were left while somebody had the lock. If somebody has it
    /// again, they do.
    fn drain_inbox(&self) {
        while self.inbox.has_any() {
            let Some(mut inner) = self.try_lock() else { return };
            let mut pending = Pending::default();
            let now = self.now();
            self.accept_inbox(&mut inner, now, &mut pending);
            inner.core.dispatch_accepted(now);
            pending.take(&mut inner.core);
            drop(inner);
            self.deliver(&mut pending, None);
        }
    }

    /// The same under the lock, before others are accepted: those of one producer stay
    /// in order.
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

    /// Takes an event if there is room, and it is not too large.
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
    use crate::{BufferSpec, DispatcherSpec, OnFull, PipelineSpec, RetryPolicy, StageSpec};
    use millrace_telemetry::Metrics;

    fn pipeline(size: usize) -> Pipeline {
        let buffer = BufferSpec {
            size,
            max_bytes: usize::MAX,
            max_event_bytes: 100,
            max_per_key: 0,
            on_full: OnFull::Reject,
        };
        let spec = PipelineSpec {
            name: "jobs".to_owned(),
            buffer,
            retry: RetryPolicy {
                max_attempts: 1,
                backoff: Duration::ZERO,
                max_backoff: Duration::ZERO,
            },
            partition_by: None,
            deadline: None,
            ordered: false,
            rate_per_second: None,
            dead_letters: 0,
            keep_dropped: false,
            stages: vec![StageSpec { dispatcher: DispatcherSpec::Demand, workers: Vec::new() }],
        };
        Pipeline::new(spec, 1, &Metrics::none()).unwrap()
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
        for _ in 0..MOST_EVENTS {
            pipeline.post(event("x")).unwrap();
        }
        pipeline.post(event("one too many")).unwrap_err();
        drop(held);
        let totals = pipeline.totals();
        assert_eq!((totals.accepted, totals.rejected), (MOST_EVENTS as u64, 1));
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
