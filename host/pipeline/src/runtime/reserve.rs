//! The events of a request: all of them are accepted, or none.
//!
//! A producer that is told that a part was refused would send all of them again, as programs
//! that ship logs do. So room for all is reserved first. Then the events are enqueued in pieces,
//! so that other producers have their turns in between.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{EnqueueError, EnqueueOutcome, Pending, Pipeline};
use crate::core::{NoRoom, OnFull, Refused};
use crate::event::NewEvent;

/// The number of events of a request that are enqueued under one lock: others wait for the lock
/// some tens of microseconds.
const PIECE: usize = 512;

impl Pipeline {
    /// Enqueues the events of a request in their order: all or none. With `timeout` they wait
    /// for room, at most that long. Where a full buffer drops events rather than refuse them
    /// (`keep`), all are accepted. The caller checks that none is larger than
    /// [`Self::max_event_bytes`].
    ///
    /// # Errors
    ///
    /// When there is no room for all of them; then none was accepted. An event that the storage
    /// refuses is no error: it is among the refused events of the outcome.
    pub async fn enqueue_all(
        &self,
        mut events: Vec<NewEvent>,
        timeout: Option<Duration>,
    ) -> Result<EnqueueOutcome, EnqueueError> {
        self.classify(&mut events);
        if matches!(self.buffer.on_full, OnFull::KeepFirst | OnFull::KeepLast) {
            return Ok(self.enqueue_in_pieces(events).await);
        }
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let room = match self.check_fits(&events) {
            Ok(()) => self.reserve_room(&events, until).await,
            Err(error) => Err(error),
        };
        match room {
            Ok(room) => Ok(room.fill(events).await),
            Err(error) => {
                if error.is_temporary() {
                    self.lock().core.count_rejected(events.len());
                }
                Err(error)
            }
        }
    }

    /// Enqueues events into a buffer that refuses none for want of room.
    async fn enqueue_in_pieces(&self, events: Vec<NewEvent>) -> EnqueueOutcome {
        let mut waiting = events.into_iter();
        let mut outcome = EnqueueOutcome::default();
        loop {
            let piece: Vec<_> = waiting.by_ref().take(PIECE).collect();
            self.unlocked().await;
            outcome.add(self.enqueue_classified(piece));
            if waiting.len() == 0 {
                return outcome;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Checks whether an empty buffer would have room for all of the events. A single event may
    /// have more bytes than the bound.
    fn check_fits(&self, events: &[NewEvent]) -> Result<(), EnqueueError> {
        let (size, max_bytes, max_per_key) =
            (self.buffer.size, self.buffer.max_bytes, self.buffer.max_per_key);
        if events.len() > size {
            return Err(EnqueueError::TooMany { found: events.len(), allowed: size });
        }
        let found = events.iter().map(|event| event.payload.len()).sum();
        let last = events.last().map_or(0, |event| event.payload.len());
        if events.len() > 1 && found - last >= max_bytes {
            return Err(EnqueueError::TooLarge { found, allowed: max_bytes });
        }
        if max_per_key > 0 {
            let mut keys = HashMap::<&str, usize>::new();
            for (at, event) in events.iter().enumerate() {
                let Some(key) = event.key.as_deref() else { continue };
                let of_key = keys.entry(key).or_default();
                *of_key += 1;
                if *of_key > max_per_key {
                    return Err(EnqueueError::TooManyOfKey { at, allowed: max_per_key });
                }
            }
        }
        Ok(())
    }

    /// Reserves room for all of the events, and waits for it until the time `until`.
    ///
    /// Of several requests that wait, one at a time collects room as it arises, in the order in
    /// which they came. Otherwise two could hold half of the room each, and large ones would wait
    /// for ever.
    async fn reserve_room(
        &self,
        events: &[NewEvent],
        until: Option<Instant>,
    ) -> Result<Reservation<'_>, EnqueueError> {
        let mut room = Reservation::new(self);
        self.unlocked().await;
        let short = match (room.reserve(events).await, until) {
            (Ok(()), _) => return Ok(room),
            (Err(short @ EnqueueError::Full { .. }), Some(until)) => (short, until),
            (Err(short), _) => return Err(short),
        };
        room.give_back();
        let (short, until) = short;
        let Ok(_turn) = timeout_at(until, self.room_queue.lock()).await else { return Err(short) };
        loop {
            let more = self.room.notified();
            self.unlocked().await;
            match room.reserve(events).await {
                Err(short @ EnqueueError::Full { .. }) => {
                    if Instant::now() >= until {
                        return Err(short);
                    }
                    // Whether there is more room or the time is up: it tries once more.
                    let _ = timeout_at(until, more).await;
                }
                answered => return answered.map(|()| room),
            }
        }
    }
}

/// Room that is reserved for the events of a request. What is left of it goes back when this is
/// dropped, as whoever sent the request may disconnect at any time.
struct Reservation<'a> {
    pipeline: &'a Pipeline,
    /// The hash of the key of each event, and the size of its payload in bytes.
    kept: VecDeque<(u64, usize)>,
}

impl<'a> Reservation<'a> {
    fn new(pipeline: &'a Pipeline) -> Self {
        Self { pipeline, kept: VecDeque::new() }
    }

    /// Reserves room for those of the events that have none yet.
    async fn reserve(&mut self, events: &[NewEvent]) -> Result<(), EnqueueError> {
        while self.kept.len() < events.len() {
            let rest = events.get(self.kept.len()..).unwrap_or_default();
            self.reserve_piece(rest, events.len())?;
            if self.kept.len() < events.len() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn reserve_piece(&mut self, rest: &[NewEvent], found: usize) -> Result<(), EnqueueError> {
        let mut inner = self.pipeline.lock();
        if inner.closed {
            return Err(EnqueueError::Closed);
        }
        let mut piece = rest.get(..PIECE).unwrap_or(rest);
        while !piece.is_empty() {
            let hashes = inner.core.hash_keys(piece);
            for (event, hash) in piece.iter().zip(hashes) {
                let bytes = event.payload.len();
                match inner.core.reserve(hash, bytes) {
                    Ok(()) => self.kept.push_back((hash, bytes)),
                    Err(NoRoom::Key) => return Err(EnqueueError::KeyFull { at: self.kept.len() }),
                    Err(NoRoom::Buffer) => {
                        let room = self.kept.len();
                        inner.core.want_room(found - room);
                        return Err(EnqueueError::Full { room, found });
                    }
                }
            }
            piece = piece.get(hashes.len()..).unwrap_or_default();
        }
        Ok(())
    }

    /// Enqueues the events for which this room was reserved.
    async fn fill(mut self, events: Vec<NewEvent>) -> EnqueueOutcome {
        let mut waiting = events.into_iter();
        let mut outcome = EnqueueOutcome::default();
        loop {
            self.pipeline.unlocked().await;
            outcome.add(self.fill_piece(&mut waiting));
            if waiting.len() == 0 {
                return outcome;
            }
            tokio::task::yield_now().await;
        }
    }

    fn fill_piece(&mut self, waiting: &mut std::vec::IntoIter<NewEvent>) -> EnqueueOutcome {
        let (pipeline, kept) = (self.pipeline, &mut self.kept);
        let mut outcome = EnqueueOutcome::default();
        pipeline.with_core(&mut Pending::default(), |inner, now, pending| {
            pipeline.accept_inbox(inner, now, pending);
            for event in waiting.by_ref().take(PIECE) {
                let Some((hash, bytes)) = kept.pop_front() else { break };
                outcome.note(match inner.closed {
                    false => inner.core.accept_reserved(event, hash, now),
                    true => {
                        inner.core.release_room(hash, bytes);
                        Err(Refused(event))
                    }
                });
            }
            inner.core.dispatch_accepted(now);
            outcome.note_safe(&inner.core);
        });
        outcome
    }

    fn give_back(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        {
            let mut inner = self.pipeline.lock();
            for (hash, bytes) in self.kept.drain(..) {
                inner.core.release_room(hash, bytes);
            }
        }
        self.pipeline.room.notify_waiters();
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{BufferSpec, Totals};

    const SOON: Option<Duration> = Some(Duration::from_secs(5));

    fn pipeline(size: usize, max_bytes: usize, max_per_key: usize) -> Arc<Pipeline> {
        let buffer = BufferSpec::of_test(size, OnFull::Wait);
        Arc::new(Pipeline::of_test(BufferSpec { max_bytes, max_per_key, ..buffer }))
    }

    fn events(keys: &[&str]) -> Vec<NewEvent> {
        let event = |key: &&str| {
            let key = (!key.is_empty()).then(|| (*key).into());
            NewEvent { payload: "0123456789".into(), key, ..NewEvent::default() }
        };
        keys.iter().map(event).collect()
    }

    async fn taken(pipeline: &Pipeline, keys: &[&str]) -> Result<usize, EnqueueError> {
        pipeline.enqueue_all(events(keys), None).await.map(|outcome| outcome.accepted)
    }

    #[tokio::test]
    async fn all_are_taken_or_none() {
        let pipeline = pipeline(3, 1000, 0);
        assert_eq!(taken(&pipeline, &["", ""]).await, Ok(2));
        let full = EnqueueError::Full { room: 1, found: 2 };
        assert_eq!(taken(&pipeline, &["", ""]).await, Err(full));
        assert_eq!(taken(&pipeline, &[]).await, Ok(0));
        assert_eq!(taken(&pipeline, &[""]).await, Ok(1));
        let never = EnqueueError::TooMany { found: 4, allowed: 3 };
        assert_eq!(taken(&pipeline, &[""; 4]).await, Err(never));
        let Totals { accepted, buffered, rejected, .. } = pipeline.totals();
        assert_eq!((accepted, buffered, rejected), (3, 3, 2));
        pipeline.close();
        assert_eq!(taken(&pipeline, &[""]).await, Err(EnqueueError::Closed));
    }

    #[tokio::test]
    async fn bytes_and_keys_are_bounded_for_a_request_as_a_whole() {
        let large = pipeline(10, 25, 0);
        assert_eq!(taken(&large, &[""; 2]).await, Ok(2));
        assert_eq!(taken(&large, &[""; 2]).await, Err(EnqueueError::Full { room: 1, found: 2 }));
        let never = EnqueueError::TooLarge { found: 40, allowed: 25 };
        assert_eq!(taken(&large, &[""; 4]).await, Err(never));

        let keyed = pipeline(10, 1000, 2);
        assert_eq!(taken(&keyed, &["ada", "bob"]).await, Ok(2));
        let full = Err(EnqueueError::KeyFull { at: 2 });
        assert_eq!(taken(&keyed, &["bob", "ada", "ada"]).await, full);
        assert_eq!(taken(&keyed, &["bob", "ada", "", "", ""]).await, Ok(5));
        let never = Err(EnqueueError::TooManyOfKey { at: 2, allowed: 2 });
        assert_eq!(taken(&keyed, &["eve", "eve", "eve"]).await, never);
    }

    #[tokio::test]
    async fn room_that_is_kept_is_nobody_elses_and_goes_back_with_its_request() {
        let pipeline = pipeline(4, 1000, 3);
        let three = events(&["ada"; 3]);
        let kept = pipeline.reserve_room(&three, None).await.unwrap();
        let full = EnqueueError::Full { room: 1, found: 2 };
        assert_eq!(taken(&pipeline, &["", ""]).await, Err(full));
        assert_eq!(taken(&pipeline, &["ada"]).await, Err(EnqueueError::KeyFull { at: 0 }));
        assert_eq!(pipeline.enqueue(events(&["", ""])).accepted, 1);
        drop(kept);
        assert_eq!(taken(&pipeline, &["ada"; 3]).await, Ok(3));
        assert_eq!(pipeline.totals().buffered, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn large_requests_that_wait_get_their_room_one_after_the_other() {
        let pipeline = pipeline(1000, 1_000_000, 0);
        assert_eq!(taken(&pipeline, &[""; 900]).await, Ok(900));
        let waiting = [800, 700].map(|count| {
            let pipeline = Arc::clone(&pipeline);
            let events = events(&vec![""; count]);
            tokio::spawn(async move { pipeline.enqueue_all(events, SOON).await })
        });
        tokio::task::yield_now().await;
        // All waiting events are dropped at once: there is room for one of the requests.
        pipeline.lock().core.abandon(Default::default());
        pipeline.room.notify_waiters();
        let mut accepted = Vec::new();
        for waiting in waiting {
            accepted.push(waiting.await.unwrap().map(|outcome| outcome.accepted));
        }
        let full = EnqueueError::Full { room: 200, found: 700 };
        assert_eq!(accepted, [Ok(800), Err(full)]);
    }
}
