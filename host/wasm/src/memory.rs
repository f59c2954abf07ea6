//! The memory of all instances of a plugin together (`limits.max_total_memory_bytes`).

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use millrace_telemetry::Counter;

/// The bytes that the instances of a plugin have, all its versions together.
#[derive(Debug)]
pub(super) struct Memory {
    /// The value of `limits.max_total_memory_bytes`.
    max: usize,
    used: AtomicUsize,
    /// The gauge of `used`.
    level: Counter,
    /// The bytes that the last new instance began with.
    new_instance_bytes: AtomicUsize,
    given_back: Notify,
    /// The number of instances that wait for memory.
    wanted: AtomicUsize,
    /// The numbers of the instances that wait.
    waiting: Mutex<Vec<u64>>,
}

/// The part of the memory, in eighths, that instances larger than [`SMALL_BYTES`] may use: with the
/// rest, small calls go on beside them.
const FOR_LARGE_EIGHTHS: usize = 7;
/// The bytes that a call of most plugins gets along with.
const SMALL_BYTES: usize = 4 * 1024 * 1024;

impl Memory {
    pub(super) fn new(max: usize, level: Counter) -> Self {
        let (used, new_instance_bytes, wanted) = Default::default();
        let (given_back, waiting) = (Notify::new(), Mutex::default());
        Self { max, used, level, new_instance_bytes, given_back, wanted, waiting }
    }

    /// The bytes that all may use together once an instance of this size has grown.
    fn most(&self, instance_bytes: usize) -> usize {
        match instance_bytes {
            0..=SMALL_BYTES => self.max,
            _ => self.max / 8 * FOR_LARGE_EIGHTHS,
        }
    }

    /// Whether an instance can ever have so many bytes; the error is how many it can have.
    pub(super) fn fits(&self, instance_bytes: usize) -> Result<(), usize> {
        let most = self.most(instance_bytes);
        if instance_bytes <= most { Ok(()) } else { Err(most) }
    }

    /// Takes `bytes` for an instance that has `instance_bytes` with them; false if there are not
    /// enough.
    pub(super) fn take(&self, bytes: usize, instance_bytes: usize) -> bool {
        let most = self.most(instance_bytes);
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= most);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok();
        if taken {
            self.level.add(signed(bytes));
        }
        taken
    }

    /// Takes as [`Self::take`], and waits until there are enough. `make_room` ends something that
    /// is idle; false if there is nothing.
    pub(super) async fn wait(
        &self,
        bytes: usize,
        instance_bytes: usize,
        instance: u64,
        make_room: impl Fn() -> bool,
    ) {
        let _waiting = WaitingInstance::new(self, instance);
        loop {
            let mut given_back = pin!(self.given_back.notified());
            given_back.as_mut().enable();
            if self.take(bytes, instance_bytes) {
                return;
            }
            if !make_room() {
                given_back.await;
            }
        }
    }

    /// Gives bytes back, and wakes all instances that wait.
    pub(super) fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.level.add(-signed(bytes));
            self.given_back.notify_waiters();
        }
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether instances wait for memory.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    /// Whether the instance of this number waits for memory.
    pub(super) fn is_awaited_by(&self, instance: u64) -> bool {
        self.is_wanted() && self.waiting().contains(&instance)
    }

    /// Whether there is as much as the last new instance began with.
    pub(super) fn fits_new_instance(&self) -> bool {
        let used = self.used.load(Ordering::Relaxed);
        used.saturating_add(self.new_instance_bytes.load(Ordering::Relaxed)) <= self.max
    }

    /// Notes the bytes that a new instance began with.
    pub(super) fn began_with(&self, bytes: usize) {
        self.new_instance_bytes.store(bytes, Ordering::Relaxed);
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<u64>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance that waits, by its number; until this is dropped.
struct WaitingInstance<'a>(&'a Memory, u64);

impl<'a> WaitingInstance<'a> {
    fn new(memory: &'a Memory, instance: u64) -> Self {
        memory.waiting().push(instance);
        memory.wanted.fetch_add(1, Ordering::Relaxed);
        Self(memory, instance)
    }
}

impl Drop for WaitingInstance<'_> {
    fn drop(&mut self) {
        let Self(memory, instance) = self;
        memory.wanted.fetch_sub(1, Ordering::Relaxed);
        memory.waiting().retain(|waiting| waiting != instance);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const MIB: usize = 1024 * 1024;

    fn memory(max: usize) -> Memory {
        Memory::new(max, Counter::new())
    }

    #[test]
    fn large_instances_leave_something_for_small_ones() {
        let memory = memory(80 * MIB);
        assert!(memory.take(60 * MIB, 60 * MIB));
        assert!(memory.take(10 * MIB, 10 * MIB));
        assert!(!memory.take(5 * MIB, 5 * MIB), "more than 70 for large ones");
        assert!(memory.take(4 * MIB, 4 * MIB));
        assert_eq!(memory.fits(70 * MIB), Ok(()));
        assert_eq!(memory.fits(71 * MIB), Err(70 * MIB));
    }

    #[tokio::test]
    async fn who_waits_has_what_is_given_back() {
        let memory = memory(10);
        assert!(memory.take(8, 8));
        let waits = memory.wait(5, 5, 7, || false);
        let gives = async {
            tokio::task::yield_now().await;
            assert!(memory.is_awaited_by(7) && !memory.is_awaited_by(8));
            memory.give_back(8);
        };
        tokio::join!(waits, gives);
        assert!(!memory.is_wanted());
        assert!(!memory.take(6, 6) && memory.take(5, 5));
    }

    #[tokio::test]
    async fn what_nobody_uses_gives_way() {
        let (memory, idle) = (memory(10), Cell::new(true));
        assert!(memory.take(8, 8));
        let make_room = || {
            memory.give_back(8);
            idle.replace(false)
        };
        memory.wait(5, 5, 7, make_room).await;
        assert!(!idle.get());
    }
}
