//! Holds back a plugin that traps again and again.
//!
//! Each trap costs an instance, and making one costs more than a call. A plugin
//! of whose calls more than a third trap is not called for a while. A client that
//! causes traps while others are served trips nothing here, and is held back
//! alone (`socket.max_faults`).

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::OnFaults;

/// Weighs faults against good calls.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: OnFaults,
    /// Each fault adds [`FAULT`], each good call takes one off.
    score: AtomicU32,
    hold: Mutex<Option<Hold>>,
}

/// A plugin is not called.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// One call is let through after this, to see whether it goes well.
    until: Instant,
    /// How long it was this time.
    backoff: Duration,
    /// Whether that call is under way.
    trying: bool,
}

/// What a fault weighs, in good calls.
const FAULT: u32 = 2;
/// The score that trips it: a hundred faults in a row.
const MAX_SCORE: u32 = 100 * FAULT;
/// How long a plugin is held back the first time.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// Twice as long each time, up to this.
const MAX_BACKOFF: Duration = Duration::from_secs(30);

impl Breaker {
    pub(super) fn new(policy: OnFaults) -> Self {
        Self { policy, score: AtomicU32::new(0), hold: Mutex::default() }
    }

    /// Whether a call may be made; if not, when it is worth trying again.
    pub(super) fn admit(&self) -> Result<(), Duration> {
        if self.score.load(Ordering::Relaxed) < MAX_SCORE {
            return Ok(());
        }
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Result<(), Duration> {
        match (self.policy, &mut *self.hold()) {
            (OnFaults::Open, _) | (OnFaults::Reload, None) => Ok(()),
            (OnFaults::Closed, _) => Err(MAX_BACKOFF),
            (OnFaults::Reload, Some(hold)) => match hold.until.checked_duration_since(now) {
                Some(left) if !left.is_zero() => Err(left),
                _ => {
                    // If nothing is heard of it, another follows.
                    hold.until = now + hold.backoff;
                    hold.trying = true;
                    Ok(())
                }
            },
        }
    }

    /// Whether it holds the plugin back.
    pub(super) fn is_holding(&self) -> bool {
        let tripped = self.score.load(Ordering::Relaxed) >= MAX_SCORE;
        tripped && self.policy != OnFaults::Open
    }

    /// A call went well.
    pub(super) fn succeeded(&self) {
        let score = self.score.load(Ordering::Relaxed);
        if score >= MAX_SCORE {
            let mut hold = self.hold();
            self.score.store(0, Ordering::Relaxed);
            *hold = None;
        } else if score > 0 {
            // Two at once may count as one; faults are counted under the lock.
            let _ =
                self.score.compare_exchange(score, score - 1, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A call came to nothing; true when this holds the plugin back.
    pub(super) fn faulted(&self) -> bool {
        self.faulted_at(Instant::now())
    }

    fn faulted_at(&self, now: Instant) -> bool {
        let mut hold = self.hold();
        let score = self.score.fetch_add(FAULT, Ordering::Relaxed) + FAULT;
        if score < MAX_SCORE || self.policy == OnFaults::Open {
            return false;
        }
        // It may be held for long without wrapping around.
        self.score.store(MAX_SCORE, Ordering::Relaxed);
        let backoff = match *hold {
            None => FIRST_BACKOFF,
            Some(Hold { trying: true, backoff, .. }) => (backoff * 2).min(MAX_BACKOFF),
            // It was under way when the breaker tripped, and says nothing new.
            Some(Hold { trying: false, .. }) => return false,
        };
        *hold = Some(Hold { until: now + backoff, backoff, trying: false });
        true
    }

    fn hold(&self) -> MutexGuard<'_, Option<Hold>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tripped(policy: OnFaults, now: Instant) -> Breaker {
        let breaker = Breaker::new(policy);
        let trips = (0..MAX_SCORE / FAULT).filter(|_| breaker.faulted_at(now)).count();
        assert_eq!(trips, usize::from(policy != OnFaults::Open));
        breaker
    }

    #[test]
    fn a_plugin_that_always_traps_is_tried_less_and_less_often() {
        let now = Instant::now();
        let breaker = tripped(OnFaults::Reload, now);
        assert_eq!(breaker.admit_at(now), Err(FIRST_BACKOFF));
        let mut at = now;
        for tries in 1..12 {
            at += MAX_BACKOFF;
            assert_eq!(breaker.admit_at(at), Ok(()), "try {tries}");
            assert!(breaker.admit_at(at).is_err(), "one try at a time");
            at += MAX_BACKOFF;
            assert!(breaker.faulted_at(at));
        }
        assert_eq!(breaker.admit_at(at), Err(MAX_BACKOFF));
    }

    #[test]
    fn a_good_call_lets_all_through_again() {
        let now = Instant::now();
        let breaker = tripped(OnFaults::Reload, now);
        assert_eq!(breaker.admit_at(now + FIRST_BACKOFF), Ok(()));
        breaker.succeeded();
        assert_eq!(breaker.admit_at(now), Ok(()));
        assert_eq!(breaker.admit(), Ok(()));
    }

    #[test]
    fn it_trips_when_more_than_a_third_of_the_calls_are_faults() {
        for (good, trips) in [(1, true), (2, false), (10, false)] {
            let breaker = Breaker::new(OnFaults::Reload);
            let tripped = (0..1_000).any(|_| {
                let tripped = breaker.faulted();
                (0..good).for_each(|_| breaker.succeeded());
                tripped
            });
            assert_eq!(tripped, trips, "{good} good calls to each fault");
        }
    }

    #[test]
    fn the_other_policies_hold_back_for_good_or_never() {
        let now = Instant::now();
        assert!(tripped(OnFaults::Closed, now).admit_at(now + 10 * MAX_BACKOFF).is_err());
        assert_eq!(tripped(OnFaults::Open, now).admit_at(now), Ok(()));
    }
}
