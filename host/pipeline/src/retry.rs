//! When an event is tried again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::consumer::Delivery;
use super::event::ConsumerId;

/// How events that failed are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often an event is tried in all.
    pub max_attempts: u16,
    /// Before the second attempt; each further one waits twice as long.
    pub backoff: Duration,
    /// The longest wait.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// How long to wait after so many attempts: exponential, and half of it by
    /// chance (`random`), so that what failed together does not come back
    /// together.
    #[must_use]
    pub fn wait(&self, attempts: u16, random: u64) -> Duration {
        let doublings = u32::from(attempts.saturating_sub(1)).min(32);
        let full = self.backoff.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX));
        let full = full.min(self.max_backoff);
        let half = full / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(random.checked_rem(nanos.saturating_add(1)).unwrap_or(0))
    }
}

/// Events that wait to be tried again, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Delayed(BinaryHeap<Reverse<(u64, Delivery, Option<ConsumerId>)>>);

impl Delayed {
    /// Keeps an event until `due_ns`; a broadcast's copy comes back to the same
    /// consumer.
    pub(super) fn push(&mut self, due_ns: u64, delivery: Delivery, consumer: Option<ConsumerId>) {
        self.0.push(Reverse((due_ns, delivery, consumer)));
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((due, ..))| *due)
    }

    /// The next one that is due.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(Delivery, Option<ConsumerId>)> {
        self.next_due().filter(|due| *due <= now_ns)?;
        self.0.pop().map(|Reverse((_, delivery, consumer))| (delivery, consumer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RetryPolicy = RetryPolicy {
        max_attempts: 5,
        backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(10),
    };

    proptest! {
        #[test]
        fn it_waits_twice_as_long_each_time_up_to_a_bound(attempts in 1..200u16, random: u64) {
            let full = Duration::from_millis(100 << (attempts - 1).min(20));
            let full = full.min(Duration::from_secs(10));
            let wait = POLICY.wait(attempts, random);
            prop_assert!(wait >= full / 2 && wait <= full, "{wait:?} of {full:?}");
        }
    }
}
