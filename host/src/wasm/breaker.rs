//! Holds back a plugin that traps again and again.
//!
//! Each trap costs an instance, and making one costs more than a call. Without
//! a bound, a client that can cause a trap with each message would cause an
//! instantiation with each.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A leaky bucket of faults.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<Level>);

#[derive(Debug)]
struct Level {
    faults: f64,
    at: Instant,
}

/// Faults forgiven in a second.
const FORGIVEN_PER_SECOND: f64 = 100.0;
/// Faults that go by without a delay.
const FREE_FAULTS: f64 = 100.0;
/// No call is held back for longer.
const MAX_DELAY: Duration = Duration::from_secs(1);

impl Default for Breaker {
    fn default() -> Self {
        Self(Mutex::new(Level { faults: 0.0, at: Instant::now() }))
    }
}

impl Breaker {
    /// Counts a fault.
    pub(super) fn faulted(&self) {
        self.level(Instant::now()).faults += 1.0;
    }

    /// How long the next instantiation has to wait, if at all.
    pub(super) fn delay(&self) -> Option<Duration> {
        self.delay_at(Instant::now())
    }

    fn delay_at(&self, now: Instant) -> Option<Duration> {
        let excess = self.level(now).faults - FREE_FAULTS;
        (excess > 0.0).then(|| Duration::from_secs_f64(excess / FORGIVEN_PER_SECOND).min(MAX_DELAY))
    }

    fn level(&self, now: Instant) -> MutexGuard<'_, Level> {
        let mut level = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_duration_since(level.at).as_secs_f64();
        level.faults = (level.faults - seconds * FORGIVEN_PER_SECOND).max(0.0);
        level.at = now;
        level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_faults_is_held_back_and_forgiven() {
        let breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..100 {
            breaker.level(now).faults += 1.0;
        }
        assert_eq!(breaker.delay_at(now), None);
        for _ in 0..1000 {
            breaker.level(now).faults += 1.0;
        }
        assert_eq!(breaker.delay_at(now), Some(MAX_DELAY));
        assert_eq!(breaker.delay_at(now + Duration::from_secs(11)), None);
    }
}
