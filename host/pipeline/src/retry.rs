//! Retries: when a failed event is tried again.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::consumer::Delivery;
use super::event::ConsumerId;

/// The number of attempts of an event, and the waits between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The number of attempts in all. An event whose last attempt fails is given up.
    pub max_attempts: u16,
    /// The wait before the second attempt. Each further wait is twice as long.
    pub backoff: Duration,
    /// The longest wait between two attempts.
    pub max_backoff: Duration,
}

impl RetryPolicy {
    /// The wait after that many attempts: it doubles with each attempt up to `max_backoff`, and
    /// half of it is jitter from `random`, so that events that failed together are not tried again
    /// together.
    pub(super) fn wait(&self, attempts: u16, random: u64) -> Duration {
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
    /// Adds an event that is due at `due_ns`, in nanoseconds of the pipeline's clock. `consumer`
    /// is the one that a copy of a broadcast comes back to; `None` for any other event.
    pub(super) fn push(&mut self, due_ns: u64, delivery: Delivery, consumer: Option<ConsumerId>) {
        self.0.push(Reverse((due_ns, delivery, consumer)));
    }

    /// The time at which the next event is due, in nanoseconds of the pipeline's clock.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((due, ..))| *due)
    }

    /// Takes out the next event if it is due, with the consumer that it comes back to.
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
