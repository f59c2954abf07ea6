//! How many instances of a plugin may live, its versions together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore};

use crate::telemetry::Counter;

/// Room for the instances of one plugin (`limits.max_instances`).
#[derive(Debug)]
pub(super) struct Room {
    free: Semaphore,
    taken: Counter,
    /// Calls that wait for an instance.
    waiting: AtomicUsize,
    /// An instance is idle, or a seat is free.
    returned: Notify,
}

/// One of a room's; dropping it makes room for another instance.
#[derive(Debug)]
pub(super) struct Seat(Arc<Room>);

/// One more call waits.
pub(super) struct Waiting<'a>(&'a Room);

impl Room {
    /// Room for so many; `taken` says how many there are.
    pub(super) fn new(max_instances: u32, taken: Counter) -> Arc<Self> {
        let free = Semaphore::new(max_instances as usize);
        Arc::new(Self { free, taken, waiting: AtomicUsize::new(0), returned: Notify::new() })
    }

    /// Room for one more instance, if there is any.
    pub(super) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let permit = self.free.try_acquire().ok()?;
        permit.forget();
        self.taken.add(1);
        Some(Seat(Arc::clone(self)))
    }

    /// How many instances live.
    pub(super) fn taken(&self) -> usize {
        usize::try_from(self.taken.total()).unwrap_or_default()
    }

    /// How many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether calls wait, who come first.
    pub(super) fn is_awaited(&self) -> bool {
        self.waiting() > 0
    }

    /// Counts a call as waiting, which has to look for an instance after that.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// An instance is idle now, put where waiting calls look under a lock: one
    /// that looked too early is seen to wait here.
    pub(super) fn returned(&self) {
        if self.is_awaited() {
            self.returned.notify_waiters();
        }
    }
}

impl Waiting<'_> {
    /// Ready when an instance or a seat was returned after it was enabled.
    pub(super) fn returned(&self) -> tokio::sync::futures::Notified<'_> {
        self.0.returned.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.add(-1);
        self.0.free.add_permits(1);
        self.0.returned.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn there_are_as_many_seats_as_were_made() {
        let room = Room::new(2, Counter::new());
        let (first, _second) = (room.seat().unwrap(), room.seat().unwrap());
        assert!(room.seat().is_none());
        drop(first);
        assert!(room.seat().is_some());
    }

    #[tokio::test]
    async fn who_waits_is_told_of_a_seat_and_of_an_instance() {
        let room = Room::new(1, Counter::new());
        let seat = room.seat().unwrap();
        assert!(!room.is_awaited());
        {
            let waiting = room.wait();
            assert!(room.is_awaited());
            let mut returned = pin!(waiting.returned());
            returned.as_mut().enable();
            drop(seat);
            returned.await;
            let mut returned = pin!(waiting.returned());
            returned.as_mut().enable();
            room.returned();
            returned.await;
        }
        assert!(!room.is_awaited());
    }
}
