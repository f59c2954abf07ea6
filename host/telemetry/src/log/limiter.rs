//! A limit for log lines that clients or plugins can cause.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::bucket::TokenBucket;

/// Limits log lines of one kind to a number per second, and counts those that it drops.
#[derive(Debug)]
pub struct LogLimiter {
    per_second: u32,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    bucket: TokenBucket,
    left_out: u64,
}

/// The permission to write a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passed(u64);

impl Passed {
    /// The number of lines of its kind that were dropped since the last one; `None` if none was.
    pub fn left_out(self) -> Option<u64> {
        (self.0 > 0).then_some(self.0)
    }
}

impl LogLimiter {
    /// A limit of this many lines per second.
    pub const fn per_second(per_second: u32) -> Self {
        Self { per_second, state: Mutex::new(None) }
    }

    /// A limit of one line per second.
    pub const fn one_a_second() -> Self {
        Self::per_second(1)
    }

    /// The permission to write a line now; `None` if the limit is reached, and the line is counted
    /// as dropped.
    pub fn pass(&self) -> Option<Passed> {
        self.pass_at(1, Instant::now())
    }

    /// As [`Self::pass`], for an entry that is as long as this number of lines.
    pub fn pass_for(&self, lines: u32) -> Option<Passed> {
        self.pass_at(lines, Instant::now())
    }

    fn pass_at(&self, lines: u32, now: Instant) -> Option<Passed> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let new =
            || State { bucket: TokenBucket::new(f64::from(self.per_second), now), left_out: 0 };
        let state = state.get_or_insert_with(new);
        match state.bucket.take(now) {
            Ok(()) => {
                state.bucket.spend(f64::from(lines.saturating_sub(1)), now);
                Some(Passed(std::mem::take(&mut state.left_out)))
            }
            Err(_) => {
                state.left_out += 1;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_out_is_told_with_the_next_line() {
        let (seldom, now) = (LogLimiter::per_second(2), Instant::now());
        let passed: Vec<_> = (0..5).map(|_| seldom.pass_at(1, now)).collect();
        assert_eq!(passed, [Some(Passed(0)), Some(Passed(0)), None, None, None]);
        let next = seldom.pass_at(1, now + Duration::from_secs(1)).unwrap();
        assert_eq!(next.left_out(), Some(3));
        assert_eq!(Passed(0).left_out(), None);
    }

    #[test]
    fn a_long_line_is_paid_for_as_many() {
        let (seldom, now) = (LogLimiter::per_second(2), Instant::now());
        assert_eq!(seldom.pass_at(4, now), Some(Passed(0)));
        assert_eq!(seldom.pass_at(1, now + Duration::from_millis(1_400)), None);
        assert!(seldom.pass_at(1, now + Duration::from_millis(1_600)).is_some());
    }
}
