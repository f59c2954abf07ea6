//! The faults of addresses and users, remembered after the connections that caused them have gone.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use millrace_telemetry::LeakyBucket;

use crate::net::network;

/// The faults of addresses and users. One fault of each is forgiven per second.
#[derive(Debug, Default)]
pub(crate) struct FaultSources {
    /// The number of known sources: mostly 0, and then nothing is looked up.
    known: AtomicUsize,
    /// A hasher with random keys, so that nobody can collide with another source on purpose.
    hasher: RandomState,
    levels: Mutex<Levels>,
}

#[derive(Debug, Default)]
struct Levels {
    of: HashMap<NonZeroU64, LeakyBucket>,
    /// The time when sources without faults were removed last.
    swept: Option<Instant>,
}

/// The origin of a connection, as hashes of its address and user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    address: NonZeroU64,
    user: Option<NonZeroU64>,
}

/// The most sources that are remembered. At the limit, the one with the fewest faults is forgotten.
const MAX_SOURCES: usize = 4_096;
/// The time between two removals of sources without faults.
const SWEEP: Duration = Duration::from_secs(1);

impl FaultSources {
    pub(crate) fn source(&self, address: IpAddr, user_id: Option<&str>) -> Source {
        let number = |hash: u64| NonZeroU64::MIN.saturating_add(hash);
        let address = number(self.hasher.hash_one(network(address)));
        let user = user_id.map(|user_id| number(self.hasher.hash_one(user_id)));
        Source { address, user }
    }

    /// Counts a fault of a source, up to a level of `most`.
    pub(crate) fn add(&self, source: Source, most: f64, now: Instant) {
        let mut levels = self.levels();
        levels.sweep(now);
        for key in source.keys() {
            if levels.of.len() >= MAX_SOURCES && !levels.of.contains_key(&key) {
                levels.make_room(now);
            }
            levels.of.entry(key).or_default().add(most, now);
        }
        self.known.store(levels.of.len(), Ordering::Relaxed);
    }

    /// The number of faults of the address or the user, whichever is higher.
    pub(crate) fn level(&self, source: Source, now: Instant) -> f64 {
        if self.known.load(Ordering::Relaxed) == 0 {
            return 0.0;
        }
        let mut levels = self.levels();
        levels.sweep(now);
        self.known.store(levels.of.len(), Ordering::Relaxed);
        let level = |key| levels.of.get(&key).map_or(0.0, |faults| faults.level(now));
        source.keys().map(level).fold(0.0, f64::max)
    }

    fn levels(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// The number of whom the faults count for: the user, or the address if there is no user.
    pub(crate) fn number(self) -> u64 {
        self.user.unwrap_or(self.address).get()
    }

    fn keys(self) -> impl Iterator<Item = NonZeroU64> {
        [Some(self.address), self.user].into_iter().flatten()
    }
}

impl Levels {
    fn sweep(&mut self, now: Instant) {
        let swept = |at| now.saturating_duration_since(at) < SWEEP;
        if self.swept.is_some_and(swept) {
            return;
        }
        self.swept = Some(now);
        self.of.retain(|_, faults| faults.level(now) > 0.0);
    }

    fn make_room(&mut self, now: Instant) {
        let level = |faults: &LeakyBucket| faults.level(now);
        let least = self.of.iter().min_by(|a, b| level(a.1).total_cmp(&level(b.1)));
        if let Some(key) = least.map(|(key, _)| *key) {
            self.of.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: f64 = 25.0;

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn faults_are_remembered_by_address_and_by_user_until_they_are_forgiven() {
        let (sources, now) = (FaultSources::default(), Instant::now());
        let ada = sources.source(at("10.0.0.1"), Some("ada"));
        (0..20).for_each(|_| sources.add(ada, MOST, now));
        let elsewhere = sources.source(at("10.0.0.2"), Some("ada"));
        let neighbour = sources.source(at("10.0.0.1"), Some("bob"));
        let stranger = sources.source(at("10.0.0.2"), Some("bob"));
        for (source, expected) in [(ada, 20.0), (elsewhere, 20.0), (neighbour, 20.0)] {
            assert_eq!(sources.level(source, now), expected);
        }
        assert_eq!(sources.level(stranger, now), 0.0);
        assert_eq!(sources.level(ada, now + Duration::from_secs(15)), 5.0);
        assert_eq!(sources.level(ada, now + Duration::from_secs(21)), 0.0);
        assert_eq!(sources.known.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_household_is_one_address() {
        let sources = FaultSources::default();
        let number = |text| sources.source(at(text), None).number();
        assert_eq!(number("2001:db8::1"), number("2001:db8::2:1"));
        assert_ne!(number("2001:db8::1"), number("2001:db8:1::1"));
    }

    #[test]
    fn there_are_so_many_and_the_worst_stay() {
        let (sources, now) = (FaultSources::default(), Instant::now());
        let worst = sources.source(at("10.0.0.1"), None);
        (0..5).for_each(|_| sources.add(worst, MOST, now));
        for number in 0..2 * MAX_SOURCES as u32 {
            let address = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
            sources.add(sources.source(address, None), MOST, now);
        }
        assert_eq!(sources.known.load(Ordering::Relaxed), MAX_SOURCES);
        assert_eq!(sources.level(worst, now), 5.0);
    }
}
