//! A circuit breaker: holds back a plugin that traps again and again.
//!
//! Each trap costs an instance, and making one costs more than a call. A plugin of whose calls more
//! than a third trap is not called for a while, if that is the plugin's fault and not some
//! client's: many sources see faults, or nobody who has caused none is served well. A client that
//! causes traps while others are served trips nothing here, however often it comes again, and is
//! held back alone (`socket.max_faults`).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_telemetry::LeakyBucket;

use super::limits::OnFaults;
use super::owner::CallOwner;

/// Weighs faults against calls that go well.
#[derive(Debug)]
pub(super) struct Breaker {
    policy: OnFaults,
    /// The score: each fault adds [`FAULT`], each good call takes 1 off; at most [`MAX_SCORE`].
    score: AtomicU32,
    /// Whether the plugin is held back; a copy of `hold` that is read without the lock.
    holds: AtomicBool,
    /// The time at which an owner that has caused no fault was last served well, in milliseconds
    /// since `began`; 0 is never. It is noted only while there are faults.
    served_well: AtomicU64,
    began: Instant,
    state: Mutex<FaultState>,
}

/// What is changed under the lock.
#[derive(Debug, Default)]
struct FaultState {
    hold: Option<Hold>,
    /// The sources of faults, with how many they caused lately; at most [`MAX_SOURCES`].
    sources: Vec<(u64, LeakyBucket)>,
    /// The time of the first of these faults.
    since: Option<Instant>,
}

/// The time for which the plugin is held back.
#[derive(Clone, Copy, Debug)]
struct Hold {
    /// The time after which one call is let through, to see whether it goes well.
    until: Instant,
    /// The length of this hold.
    backoff: Duration,
    /// Whether that call has been let through.
    trying: bool,
}

/// The weight of a fault, in good calls.
const FAULT: u32 = 2;
/// The score that trips the breaker: a hundred faults in a row.
const MAX_SCORE: u32 = 100 * FAULT;
/// The number of faults of one source that count at most; one is forgotten each second.
const MAX_FAULTS_OF_SOURCE: f64 = 20.0;
/// More faults than this are the plugin's fault, even if others are served well: they are of at
/// least five sources.
const MANY_FAULTS: f64 = 4.0 * MAX_FAULTS_OF_SOURCE;
/// The number of sources that are counted apart; of more, those with the fewest faults are
/// forgotten.
const MAX_SOURCES: usize = 256;
/// The time after which somebody who was served well does not count any more.
const SERVED_WELL: Duration = Duration::from_secs(5);
/// The time after the first fault in which others may still be served well, before it counts that
/// none was.
const TIME_TO_SERVE: Duration = Duration::from_millis(50);
/// The length of the first hold.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// The longest hold; each is twice as long as the one before.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// The time after a hold in which only calls of owners without a fault are let through; after that,
/// all are.
const FOR_THE_BLAMELESS: Duration = Duration::from_secs(1);
/// The time without a fault after which a source counts as one without faults.
const FORGIVEN: Duration = Duration::from_secs(60);

impl Breaker {
    pub(super) fn new(policy: OnFaults) -> Self {
        Self {
            policy,
            score: AtomicU32::new(0),
            holds: AtomicBool::new(false),
            served_well: AtomicU64::new(0),
            began: Instant::now(),
            state: Mutex::default(),
        }
    }

    /// Whether a call may be made.
    ///
    /// # Errors
    ///
    /// The time after which it is worth trying again.
    pub(super) fn admit(&self, owner: &CallOwner) -> Result<(), Duration> {
        if !self.is_holding() {
            return Ok(());
        }
        self.admit_at(owner, Instant::now())
    }

    fn admit_at(&self, owner: &CallOwner, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        let is_blameless = !owner.has_faulted && !state.has_faulted(owner.source, now);
        let Some(hold) = &mut state.hold else { return Ok(()) };
        if self.policy == OnFaults::Closed {
            return Err(MAX_BACKOFF);
        }
        // Whoever causes the faults is not the one to show whether calls go well again.
        let due = if is_blameless { hold.until } else { hold.until + FOR_THE_BLAMELESS };
        match due.checked_duration_since(now) {
            Some(left) if !left.is_zero() => Err(left),
            _ => {
                // If that call never ends, another one is let through after this time.
                hold.until = now + hold.backoff;
                hold.trying = true;
                Ok(())
            }
        }
    }

    /// Whether the plugin is held back.
    pub(super) fn is_holding(&self) -> bool {
        self.holds.load(Ordering::Relaxed)
    }

    /// Counts `messages` that were handled well. `has_blameless` says whether one of them was of an
    /// owner that has caused no fault. While the plugin is held back, this ends the hold.
    pub(super) fn succeeded(&self, messages: u64, has_blameless: bool) {
        if self.score.load(Ordering::Relaxed) > 0 {
            self.succeeded_at(messages, has_blameless, Instant::now());
        }
    }

    fn succeeded_at(&self, messages: u64, has_blameless: bool, now: Instant) {
        if self.is_holding() {
            let mut state = self.state();
            self.score.store(0, Ordering::Relaxed);
            self.holds.store(false, Ordering::Relaxed);
            *state = FaultState::default();
            return;
        }
        if has_blameless {
            self.served_well.store(self.millis(now), Ordering::Relaxed);
        }
        let less = u32::try_from(messages).unwrap_or(u32::MAX);
        let paid = |score: u32| Some(score.saturating_sub(less));
        let _ = self.score.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paid);
    }

    /// Counts a fault in a call of this owner; true if the plugin is held back from now on.
    pub(super) fn faulted(&self, owner: &CallOwner) -> bool {
        self.faulted_at(owner, Instant::now())
    }

    fn faulted_at(&self, owner: &CallOwner, now: Instant) -> bool {
        let mut state = self.state();
        let add = |score: u32| Some((score + FAULT).min(MAX_SCORE));
        let before = self.score.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        let before = before.unwrap_or(MAX_SCORE);
        if before == 0 {
            state.since = Some(now);
        }
        state.add(owner.source, now);
        if before + FAULT < MAX_SCORE || self.policy == OnFaults::Open {
            return false;
        }
        let backoff = match state.hold {
            None if !state.is_plugins_doing(self.is_serving(now), now) => return false,
            None => FIRST_BACKOFF,
            Some(Hold { trying: true, backoff, .. }) => (backoff * 2).min(MAX_BACKOFF),
            // The call was under way when the breaker tripped, and says nothing new.
            Some(Hold { trying: false, .. }) => return false,
        };
        state.hold = Some(Hold { until: now + backoff, backoff, trying: false });
        self.holds.store(true, Ordering::Relaxed);
        true
    }

    /// The number of sources of recent faults, and, for the log, until when the plugin is held
    /// back.
    pub(super) fn held(&self) -> (usize, String) {
        let state = self.state();
        let until = match (self.policy, state.hold) {
            (OnFaults::Reload, Some(hold)) => {
                format!("for {} ms, then one call is tried", hold.backoff.as_millis())
            }
            _ => "until another version is swapped in, or a restart".to_owned(),
        };
        (state.sources.len(), until)
    }

    /// Whether an owner that has caused no fault was served well in the last [`SERVED_WELL`].
    fn is_serving(&self, now: Instant) -> bool {
        let last = self.served_well.load(Ordering::Relaxed);
        last > 0 && last + millis(SERVED_WELL) > self.millis(now)
    }

    /// The milliseconds since `began`, at least 1.
    fn millis(&self, now: Instant) -> u64 {
        millis(now.saturating_duration_since(self.began)).max(1)
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FaultState {
    /// Counts a fault of a source.
    fn add(&mut self, source: u64, now: Instant) {
        self.sources.retain(|(_, faults)| faults.since(now) < FORGIVEN);
        let known = self.sources.iter_mut().find(|(known, _)| *known == source);
        if let Some((_, faults)) = known {
            return faults.add(MAX_FAULTS_OF_SOURCE, now);
        }
        if self.sources.len() >= MAX_SOURCES {
            let level = |(_, faults): &(u64, LeakyBucket)| faults.level(now);
            let order = |a: &(usize, &(u64, LeakyBucket)), b: &(usize, &(u64, LeakyBucket))| {
                level(a.1).total_cmp(&level(b.1))
            };
            if let Some((least, _)) = self.sources.iter().enumerate().min_by(order) {
                self.sources.swap_remove(least);
            }
        }
        self.sources.push((source, LeakyBucket::at(1.0, now)));
    }

    fn has_faulted(&self, source: u64, now: Instant) -> bool {
        let of_source =
            |(known, faults): &(u64, LeakyBucket)| *known == source && faults.since(now) < FORGIVEN;
        self.sources.iter().any(of_source)
    }

    /// Whether so many faults are the plugin's fault, not some client's.
    fn is_plugins_doing(&self, is_serving: bool, now: Instant) -> bool {
        let faults: f64 = self.sources.iter().map(|(_, faults)| faults.level(now)).sum();
        let had_time = self.since.is_none_or(|since| now - since >= TIME_TO_SERVE);
        faults > MANY_FAULTS || (!is_serving && had_time)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CULPRIT: CallOwner = CallOwner { number: 1, source: 1, has_faulted: true };
    const OTHER: CallOwner = CallOwner { number: 2, source: 2, has_faulted: false };

    /// A breaker after a hundred faults of one client that is alone.
    fn tripped(policy: OnFaults, now: Instant) -> Breaker {
        let breaker = Breaker::new(policy);
        let mut at = now;
        let trips = (0..MAX_SCORE / FAULT).filter(|_| {
            at += TIME_TO_SERVE;
            breaker.faulted_at(&CULPRIT, at)
        });
        assert_eq!(trips.count(), usize::from(policy != OnFaults::Open));
        breaker
    }

    #[test]
    fn a_plugin_that_always_traps_is_tried_less_and_less_often() {
        let now = Instant::now();
        let breaker = tripped(OnFaults::Reload, now);
        let mut at = now + 100 * TIME_TO_SERVE;
        assert_eq!(breaker.admit_at(&OTHER, at), Err(FIRST_BACKOFF));
        for tries in 1..12 {
            at += MAX_BACKOFF;
            assert_eq!(breaker.admit_at(&OTHER, at), Ok(()), "try {tries}");
            assert!(breaker.admit_at(&OTHER, at).is_err(), "one try at a time");
            at += MAX_BACKOFF;
            assert!(breaker.faulted_at(&CULPRIT, at));
        }
        assert_eq!(breaker.admit_at(&OTHER, at), Err(MAX_BACKOFF));
    }

    #[test]
    fn a_good_call_lets_all_through_again() {
        let now = Instant::now();
        let breaker = tripped(OnFaults::Reload, now);
        let at = now + 100 * TIME_TO_SERVE + FIRST_BACKOFF;
        assert_eq!(breaker.admit_at(&OTHER, at), Ok(()));
        breaker.succeeded(1, true);
        assert_eq!(breaker.admit_at(&CULPRIT, now), Ok(()));
        assert_eq!(breaker.admit(&CULPRIT), Ok(()));
    }

    #[test]
    fn who_caused_the_faults_is_let_through_last() {
        let now = Instant::now();
        let breaker = tripped(OnFaults::Reload, now);
        let due = now + 100 * TIME_TO_SERVE + FIRST_BACKOFF;
        let again = CallOwner { number: 3, has_faulted: false, ..CULPRIT };
        for owner in [CULPRIT, again] {
            assert_eq!(breaker.admit_at(&owner, due), Err(FOR_THE_BLAMELESS), "{owner:?}");
        }
        assert_eq!(breaker.admit_at(&CULPRIT, due + FOR_THE_BLAMELESS), Ok(()));
    }

    #[test]
    fn it_trips_when_more_than_a_third_of_the_calls_are_faults() {
        for (good, trips) in [(1, true), (2, false), (10, false)] {
            let (breaker, mut now) = (Breaker::new(OnFaults::Reload), Instant::now());
            let tripped = (0..1_000).any(|_| {
                now += TIME_TO_SERVE;
                let tripped = breaker.faulted_at(&CULPRIT, now);
                breaker.succeeded_at(good, false, now);
                tripped
            });
            assert_eq!(tripped, trips, "{good} good calls to each fault");
        }
    }

    #[test]
    fn one_source_does_not_trip_it_while_others_are_served_and_many_do() {
        for (sources, trips) in [(1, false), (4, false), (5, true), (1_000, true)] {
            let (breaker, now) = (Breaker::new(OnFaults::Reload), Instant::now());
            let tripped = (0..10_000_u64).any(|fault| {
                let owner = CallOwner { source: fault % sources, ..CULPRIT };
                let at = now + Duration::from_micros(100) * fault as u32;
                breaker.succeeded_at(1, true, at);
                breaker.faulted_at(&owner, at)
            });
            assert_eq!(tripped, trips, "{sources} sources");
        }
    }

    #[test]
    fn it_trips_when_the_others_are_served_no_more() {
        let (breaker, now) = (Breaker::new(OnFaults::Reload), Instant::now());
        let faults = |at| (0..1_000).any(|_| breaker.faulted_at(&CULPRIT, at));
        assert!(!faults(now), "the others had no time to be served");
        breaker.succeeded_at(1, true, now + TIME_TO_SERVE);
        assert!(!faults(now + SERVED_WELL));
        assert!(faults(now + 2 * TIME_TO_SERVE + SERVED_WELL));
    }

    #[test]
    fn the_other_policies_hold_back_for_good_or_never() {
        let now = Instant::now();
        let later = now + 10 * MAX_BACKOFF;
        assert!(tripped(OnFaults::Closed, now).admit_at(&OTHER, later).is_err());
        assert_eq!(tripped(OnFaults::Open, now).admit_at(&OTHER, now), Ok(()));
    }
}
