//! The bounded queue in front of one connection.
//!
//! Everything that goes to a client, from whichever task, goes through its
//! outbox, and so keeps one order. The connection's task is the only reader.

mod overflow;
mod wakes;

pub use overflow::{Overflow, OverflowPolicies};
pub(crate) use wakes::{Wakes, run as wake_for_others};

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use smol_str::SmolStr;

use crate::channel::Late;
use crate::pubsub::Notice;
use crate::telemetry::{OutboxMeters, Published};
use crate::wire::{CloseReason, Frame};

/// What a connection's task finds in its outbox.
#[derive(Debug)]
pub enum Outgoing {
    /// To be written.
    Frame(Queued),
    /// To be written, if it is not dropped to make room.
    Droppable(Queued),
    /// To be written, if nothing newer of its key replaces it.
    Conflated(Box<Conflated>),
    /// To be taken to a channel.
    Notice(Notice),
    /// To be taken to a channel's client.
    Late(Box<Late>),
}

/// A frame, and since when it is on its way.
#[derive(Clone, Debug)]
pub struct Queued {
    /// To be written.
    pub frame: Frame,
    /// When it was broadcast, if it was and somebody wants to know.
    pub(crate) published: Option<Published>,
}

/// A frame that only counts until the next of its key.
#[derive(Debug)]
pub struct Conflated {
    key: Key,
    /// To be written.
    pub queued: Queued,
}

/// A topic and an event.
type Key = (Arc<str>, SmolStr);

/// The queue of one connection, bounded in bytes (`socket.outbox_bytes`). What
/// happens at the bound is the [`Overflow`] policy of the topic.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
    /// The connection is asked to finish what it is doing, and close.
    draining: AtomicBool,
    capacity_bytes: usize,
    meters: Arc<OutboxMeters>,
    /// How its reader is woken from other threads.
    wakes: Option<Arc<Wakes>>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Outgoing>,
    bytes: usize,
    /// How many entries were taken since the start: the number of the first
    /// that waits.
    first: u64,
    /// The numbers of the conflated entries that wait.
    #[expect(clippy::box_collection, reason = "few connections have one: 8 bytes, not 48")]
    latest: Option<Box<HashMap<Key, u64>>>,
    waker: Option<Waker>,
    closed: Option<CloseReason>,
}

/// What one entry costs besides its frame's bytes, which broadcasts share.
const ENTRY_BYTES: usize = size_of::<Outgoing>();

impl Outbox {
    /// An empty outbox for `capacity_bytes` of frames, whose reader is on this thread.
    #[must_use]
    pub(crate) fn new(capacity_bytes: usize, meters: Arc<OutboxMeters>) -> Self {
        let draining = AtomicBool::new(false);
        let wakes = Wakes::here();
        Self { inner: Mutex::default(), draining, capacity_bytes, meters, wakes }
    }

    /// Queues a frame. False when the connection is closing, or now has to.
    pub fn push(&self, frame: Frame) -> bool {
        let (queued, inner) = self.put(Outgoing::Frame(frame.into()));
        self.wake(inner);
        queued
    }

    /// As [`Self::push`], from the connection's own task, which looks into its
    /// outbox before it rests: waking it would cost it a turn for nothing.
    pub fn push_own(&self, frame: Frame) -> bool {
        self.put(Outgoing::Frame(frame.into())).0
    }

    /// Queues a push or broadcast under the policy of its topic. False as for
    /// [`Self::push`].
    pub fn push_under(
        &self,
        overflow: Overflow,
        queued: Queued,
        topic: &Arc<str>,
        event: &SmolStr,
    ) -> bool {
        let (room, inner) = match overflow {
            Overflow::Close => self.put(Outgoing::Frame(queued)),
            Overflow::DropOldest => self.put(Outgoing::Droppable(queued)),
            Overflow::Conflate => self.conflate((Arc::clone(topic), event.clone()), queued),
        };
        self.wake(inner);
        room
    }

    /// Queues a notice. False as for [`Self::push`].
    pub fn notify(&self, notice: Notice) -> bool {
        let (queued, inner) = self.put(Outgoing::Notice(notice));
        self.wake(inner);
        queued
    }

    /// Queues something for a channel's client, or gives it back when the
    /// connection is closing, or now has to.
    pub fn late(&self, late: Late) -> Result<(), Late> {
        let mut inner = self.lock();
        let bytes = late.bytes() + ENTRY_BYTES;
        if !self.make_room(&mut inner, bytes) {
            self.wake(inner);
            return Err(late);
        }
        inner.bytes += bytes;
        inner.queue.push_back(Outgoing::Late(Box::new(late)));
        self.wake(inner);
        Ok(())
    }

    /// What else was queued when the connection closed.
    pub fn take_late(&self) -> Vec<Late> {
        let queue = std::mem::take(&mut self.lock().queue);
        let late = queue.into_iter().filter_map(|outgoing| match outgoing {
            Outgoing::Late(late) => Some(*late),
            _ => None,
        });
        late.collect()
    }

    /// How many bytes wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }

    /// Asks the connection's task to close. The first reason stays.
    pub fn close(&self, reason: CloseReason) {
        let mut inner = self.lock();
        inner.closed.get_or_insert(reason);
        self.wake(inner);
    }

    /// Asks the connection's task to finish its calls, write what is queued and
    /// close with 1012.
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

    /// Moves what is queued into `into`, up to about `max_bytes`; whether that was
    /// all, and the reader is woken when there is more. Pending when there is nothing;
    /// an error once the connection has to close, which comes
    /// before anything still queued.
    pub fn poll_take(
        &self,
        cx: &mut Context<'_>,
        into: &mut VecDeque<Outgoing>,
        max_bytes: usize,
    ) -> Poll<Result<bool, CloseReason>> {
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

    /// Replaces what waits under `key`, or queues it.
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

    /// Whether an entry of so many bytes may be queued, perhaps because others
    /// gave way. If it finds no room, the connection has to close.
    fn make_room(&self, inner: &mut Inner, bytes: usize) -> bool {
        if inner.closed.is_some() {
            return false;
        }
        // A frame alone always finds room: its size is bounded elsewhere.
        if inner.bytes == 0 || inner.bytes + bytes <= self.capacity_bytes {
            return true;
        }
        // A little more than needed, so that not every frame looks for room.
        let wanted = (self.capacity_bytes - self.capacity_bytes / 8).saturating_sub(bytes);
        let dropped = inner.drop_oldest(wanted);
        if dropped > 0 {
            self.meters.drop_oldest.add(i64::try_from(dropped).unwrap_or(i64::MAX));
        }
        if inner.bytes == 0 || inner.bytes + bytes <= self.capacity_bytes {
            return true;
        }
        self.meters.close.add(1);
        inner.closed = Some(CloseReason::Overloaded);
        // Calls wait for what they flush.
        inner.queue.retain(|outgoing| matches!(outgoing, Outgoing::Late(_)));
        inner.latest = None;
        false
    }

    /// Wakes the reader after the lock is released, so that it does not run into it.
    fn wake(&self, mut inner: MutexGuard<'_, Inner>) {
        let waker = inner.waker.take();
        drop(inner);
        match (waker, &self.wakes) {
            (Some(waker), Some(wakes)) => wakes.wake(waker),
            (Some(waker), None) => waker.wake(),
            (None, _) => {}
        }
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

    /// The conflated entry that waits under `key`.
    fn waiting(&mut self, key: &Key) -> Option<&mut Conflated> {
        let number = *self.latest.as_ref()?.get(key)?;
        let place = usize::try_from(number - self.first).ok()?;
        match self.queue.get_mut(place)? {
            Outgoing::Conflated(conflated) => Some(conflated),
            _ => None,
        }
    }

    /// Drops the oldest droppable entries until no more than `wanted` bytes are
    /// left, or none is; how many.
    fn drop_oldest(&mut self, wanted: usize) -> usize {
        let before = self.queue.len();
        let mut bytes = self.bytes;
        self.queue.retain(|outgoing| {
            let drop = bytes > wanted && matches!(outgoing, Outgoing::Droppable(_));
            if drop {
                bytes -= outgoing.bytes();
            }
            !drop
        });
        self.bytes = bytes;
        let dropped = before - self.queue.len();
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

impl Outgoing {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Frame(queued) | Self::Droppable(queued) => queued.frame.len(),
                Self::Conflated(conflated) => size_of::<Conflated>() + conflated.queued.frame.len(),
                Self::Notice(notice) => notice.broadcast.payload.len(),
                Self::Late(late) => late.bytes(),
            }
    }
}

impl From<Frame> for Queued {
    fn from(frame: Frame) -> Self {
        Self { frame, published: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;
    use proptest::prelude::*;
    use std::task::Wake;

    fn outbox(capacity_bytes: usize) -> Outbox {
        Outbox::new(capacity_bytes, Arc::new(OutboxMeters::new(&Metrics::none())))
    }

    fn poll(outbox: &Outbox, into: &mut VecDeque<Outgoing>) -> Poll<Result<bool, CloseReason>> {
        outbox.poll_take(&mut Context::from_waker(Waker::noop()), into, 1 << 20)
    }

    /// The texts of what waits.
    fn texts(outbox: &Outbox) -> Vec<String> {
        let mut taken = VecDeque::new();
        assert_eq!(poll(outbox, &mut taken), Poll::Ready(Ok(true)));
        taken.iter().map(text).collect()
    }

    fn text(outgoing: &Outgoing) -> String {
        let frame = match outgoing {
            Outgoing::Frame(queued) | Outgoing::Droppable(queued) => &queued.frame,
            Outgoing::Conflated(conflated) => &conflated.queued.frame,
            other => panic!("{other:?}"),
        };
        match frame {
            Frame::Text(text) => text.as_str().to_owned(),
            Frame::Binary(_) => panic!("{frame:?}"),
        }
    }

    /// A frame of so many bytes that begins with its number.
    fn frame(number: usize, len: usize) -> Frame {
        Frame::from(format!("{number:<len$}"))
    }

    fn push(outbox: &Outbox, overflow: Overflow, frame: Frame, event: &str) -> bool {
        outbox.push_under(overflow, frame.into(), &"t".into(), &event.into())
    }

    #[test]
    fn frames_come_out_in_order() {
        let (outbox, mut taken) = (outbox(1000), VecDeque::new());
        assert!(poll(&outbox, &mut taken).is_pending());
        assert!(outbox.push(Frame::from("a".to_owned())));
        assert!(outbox.push(Frame::from("b".to_owned())));
        assert_eq!(texts(&outbox), ["a", "b"]);
    }

    #[test]
    fn who_has_taken_all_is_woken_for_the_next() {
        struct Woken(AtomicBool);
        impl Wake for Woken {
            fn wake(self: Arc<Self>) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let (outbox, woken) = (outbox(1000), Arc::new(Woken(AtomicBool::new(false))));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut take = |most| outbox.poll_take(&mut cx, &mut VecDeque::new(), most);
        assert!(outbox.push(frame(0, 300)) && outbox.push(frame(1, 300)));
        assert_eq!(take(300), Poll::Ready(Ok(false)));
        assert_eq!(take(1000), Poll::Ready(Ok(true)));
        assert!(!woken.0.load(Ordering::Relaxed));
        assert!(outbox.push(frame(2, 10)));
        assert!(woken.0.load(Ordering::Relaxed));
    }

    #[test]
    fn a_full_outbox_closes_the_connection_and_lets_go_of_its_memory() {
        let (outbox, mut taken) = (outbox(1000), VecDeque::new());
        let frame = Frame::from("x".repeat(400));
        assert!(outbox.push(frame.clone()));
        assert!(outbox.push(frame.clone()));
        assert!(!outbox.push(frame.clone()));
        assert!(!outbox.push(Frame::from(String::new())));
        assert_eq!(poll(&outbox, &mut taken), Poll::Ready(Err(CloseReason::Overloaded)));
        assert!(outbox.lock().queue.is_empty());
    }

    #[test]
    fn the_oldest_droppable_frames_give_way_and_nothing_else() {
        let outbox = outbox(2_000);
        assert!(outbox.push(Frame::from("reply".to_owned())));
        for number in 0..100 {
            assert!(push(&outbox, Overflow::DropOldest, frame(number, 100), "e"));
        }
        let texts = texts(&outbox);
        assert_eq!(texts[0], "reply");
        assert_eq!(texts.last().unwrap().trim(), "99");
        assert!((8..=14).contains(&texts.len()), "{texts:?}");
    }

    #[test]
    fn without_droppable_frames_the_connection_gives_way() {
        let outbox = outbox(1_000);
        assert!(outbox.push(frame(0, 800)));
        assert!(!push(&outbox, Overflow::DropOldest, frame(1, 400), "e"));
        let closed = poll(&outbox, &mut VecDeque::new());
        assert_eq!(closed, Poll::Ready(Err(CloseReason::Overloaded)));
    }

    #[test]
    fn conflated_frames_keep_the_place_of_the_first_and_the_text_of_the_last() {
        let outbox = outbox(1_000);
        for (number, event) in [(0, "a"), (1, "b"), (2, "a"), (3, "a")] {
            assert!(push(&outbox, Overflow::Conflate, frame(number, 10), event));
        }
        assert_eq!(texts(&outbox).iter().map(|t| t.trim()).collect::<Vec<_>>(), ["3", "1"]);
        // What was taken is no longer replaced.
        assert!(push(&outbox, Overflow::Conflate, frame(4, 10), "a"));
        assert_eq!(texts(&outbox)[0].trim(), "4");
    }

    #[derive(Clone, Debug)]
    enum Step {
        Plain(usize),
        Droppable(usize),
        Conflated(usize, u8),
        Take(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            (1..300usize).prop_map(Step::Plain),
            (1..300usize).prop_map(Step::Droppable),
            (1..300usize, 0..4u8).prop_map(|(len, key)| Step::Conflated(len, key)),
            (0..500usize).prop_map(Step::Take),
        ];
        proptest::collection::vec(step, 0..80)
    }

    proptest! {
        /// Bytes are accounted for exactly, plain frames are never lost, the
        /// order of what is left is that of the pushes (a conflated frame keeps
        /// the place of the one it replaces), and of each key at most one waits,
        /// the latest.
        #[test]
        fn whatever_happens_the_books_are_right(steps in steps()) {
            let outbox = outbox(3_000);
            let mut open = true;
            let mut plain: VecDeque<String> = VecDeque::new();
            let mut latest: HashMap<u8, String> = HashMap::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Plain(len) => {
                        open = outbox.push(frame(number, len));
                        plain.push_back(number.to_string());
                    }
                    Step::Droppable(len) => {
                        open = push(&outbox, Overflow::DropOldest, frame(number, len), "d");
                    }
                    Step::Conflated(len, key) => {
                        let event = format!("c{key}");
                        open = push(&outbox, Overflow::Conflate, frame(number, len), &event);
                        latest.insert(key, number.to_string());
                    }
                    Step::Take(max) => {
                        let mut taken = VecDeque::new();
                        let cx = &mut Context::from_waker(Waker::noop());
                        let _ = outbox.poll_take(cx, &mut taken, max);
                        for outgoing in &taken {
                            let text = text(outgoing).trim().to_owned();
                            match outgoing {
                                Outgoing::Frame(_) => {
                                    prop_assert_eq!(Some(text), plain.pop_front());
                                }
                                Outgoing::Conflated(conflated) => {
                                    let key = conflated.key.1.as_bytes()[1] - b'0';
                                    prop_assert_eq!(Some(text), latest.remove(&key));
                                }
                                _ => {}
                            }
                        }
                    }
                }
                if !open {
                    break;
                }
                let inner = outbox.lock();
                let bytes: usize = inner.queue.iter().map(Outgoing::bytes).sum();
                prop_assert_eq!(inner.bytes, bytes);
                let waiting = inner.queue.iter().filter(|o| matches!(o, Outgoing::Conflated(_)));
                prop_assert_eq!(waiting.count(), latest.len());
                let frames = inner.queue.iter().filter(|o| matches!(o, Outgoing::Frame(_)));
                prop_assert_eq!(frames.count(), plain.len());
                prop_assert!(bytes <= 3_000 || inner.queue.len() == 1);
            }
        }
    }
}
