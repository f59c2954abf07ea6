//! Series: values that many threads record and one thread reports.
//!
//! Each thread adds to a cell of its own, so that recording is one uncontended atomic addition,
//! without a lock. The reporter sums the cells up and sends what was added since the last time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};
use std::thread::available_parallelism;

use smol_str::SmolStr;

/// The number of cells of each value: that of the processors, rounded up to a power of two, 16 at
/// most.
static SHARDS: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, usize::from).next_power_of_two().min(16));

thread_local! {
    static SHARD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) & (*SHARDS - 1)
    };
}

/// The number of cells that a value has.
pub(super) fn shards() -> usize {
    *SHARDS
}

/// This thread's cell of a value; `None` only if there are no cells.
pub(super) fn local_shard<T>(shards: &[T]) -> Option<&T> {
    shards.get(SHARD.with(|shard| *shard))
}

/// A cell in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(AtomicI64);

/// A sum of what happened; or of what exists, if it is subtracted again.
#[derive(Clone, Debug)]
pub struct Counter(Arc<[Cell]>);

/// The value that was set last; not a number until then.
#[derive(Clone, Debug)]
pub struct Gauge(Arc<AtomicU64>);

/// A distribution of values, with a relative error of 1/64 at most.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<[Buckets]>);

/// The number of values in each bucket; allocated by the first thread that records here.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Buckets(OnceLock<Box<[AtomicU32]>>);

/// The different values that there were.
#[derive(Clone, Debug)]
pub struct Set(Arc<[Values]>);

/// The values of one thread. Only the reporter locks them, too.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Values(Mutex<HashSet<SmolStr>>);

/// The most values of a set between two reports, for each thread; further values are dropped.
const MAX_VALUES: usize = 1024;

/// The number of buckets for each power of two.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// The largest value, 19 hours in microseconds; larger ones are recorded as this.
const MAX_VALUE: u64 = (1 << 36) - 1;
const BUCKETS: usize = bucket(MAX_VALUE) + 1;

/// The index of a value's bucket: exact below [`STEPS`], then [`STEPS`] buckets for each power of
/// two.
#[expect(clippy::cast_possible_truncation, reason = "some hundreds at most")]
const fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    ((shift as u64 + 1) * STEPS + (value >> shift) - STEPS) as usize
}

/// The value in the middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let low = (STEPS + bucket % STEPS) << shift;
    low + ((1 << shift) >> 1)
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// A counter at 0.
    pub fn new() -> Self {
        Self((0..*SHARDS).map(|_| Cell::default()).collect())
    }

    /// Adds to the cell of this thread.
    #[inline]
    pub fn add(&self, delta: i64) {
        if let Some(cell) = local_shard(&self.0) {
            cell.0.fetch_add(delta, Ordering::Relaxed);
        }
    }

    /// The sum of all cells.
    pub fn total(&self) -> i64 {
        self.0.iter().map(|cell| cell.0.load(Ordering::Relaxed)).fold(0, i64::wrapping_add)
    }

    /// Whether this is the only handle.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Gauge {
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(f64::NAN.to_bits())))
    }

    pub fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<f64> {
        let value = f64::from_bits(self.0.load(Ordering::Relaxed));
        value.is_finite().then_some(value)
    }

    /// Whether this is the only handle.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Histogram {
    pub fn new() -> Self {
        Self((0..*SHARDS).map(|_| Buckets::default()).collect())
    }

    #[inline]
    pub fn record(&self, value: u64) {
        let Some(Buckets(buckets)) = local_shard(&self.0) else { return };
        let buckets = buckets.get_or_init(|| (0..BUCKETS).map(|_| AtomicU32::new(0)).collect());
        if let Some(bucket) = buckets.get(bucket(value.min(MAX_VALUE))) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The values that were recorded since `seen`, which is brought up to date.
    pub fn since(&self, seen: &mut Seen) -> Distribution {
        seen.0.resize_with(self.0.len(), Vec::new);
        let mut counts = vec![0; BUCKETS];
        for (Buckets(buckets), seen) in self.0.iter().zip(&mut seen.0) {
            let Some(buckets) = buckets.get() else { continue };
            seen.resize(BUCKETS, 0);
            for ((now, seen), count) in buckets.iter().zip(seen).zip(&mut counts) {
                let now = now.load(Ordering::Relaxed);
                // A count of 32 bits may wrap around; the difference is right all the same.
                *count += u64::from(now.wrapping_sub(*seen));
                *seen = now;
            }
        }
        Distribution { counts }
    }

    /// Whether this is the only handle.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Set {
    pub fn new() -> Self {
        Self((0..*SHARDS).map(|_| Values::default()).collect())
    }

    /// Adds a value. False when there are [`MAX_VALUES`] others, and it is dropped.
    pub fn insert(&self, value: SmolStr) -> bool {
        let Some(Values(values)) = local_shard(&self.0) else { return false };
        let mut values = values.lock().unwrap_or_else(PoisonError::into_inner);
        if values.len() >= MAX_VALUES && !values.contains(&value) {
            return false;
        }
        values.insert(value);
        true
    }

    /// Takes the values that were added since the last time.
    pub fn take(&self) -> HashSet<SmolStr> {
        let take = |values: &Values| {
            std::mem::take(&mut *values.0.lock().unwrap_or_else(PoisonError::into_inner))
        };
        self.0.iter().flat_map(take).collect()
    }

    /// Whether this is the only handle.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// The counts of a histogram that were read last, for each cell.
#[derive(Clone, Debug, Default)]
pub struct Seen(Vec<Vec<u32>>);

/// The distribution of the values that were recorded in some span of time.
#[derive(Clone, Debug, Default)]
pub struct Distribution {
    counts: Vec<u64>,
}

impl Distribution {
    /// The number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    pub fn sum(&self) -> u64 {
        let sums = self.counts.iter().enumerate().map(|(bucket, count)| middle(bucket) * count);
        sums.fold(0, u64::saturating_add)
    }

    /// Adds the values of another distribution.
    #[inline]
    pub fn add(&mut self, other: &Self) {
        self.counts.resize(BUCKETS, 0);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    /// Up to `most` values that stand for all, in order: the values at equally spaced ranks.
    pub fn samples(&self, most: u64) -> Vec<u64> {
        let count = self.count();
        let many = count.min(most);
        let (mut samples, mut passed) = (Vec::new(), 0);
        for (bucket, &here) in self.counts.iter().enumerate() {
            passed += here;
            // The middle rank of each of `many` equal parts.
            while (samples.len() as u64) < many
                && (2 * samples.len() as u64 + 1) * count < 2 * many * passed
            {
                samples.push(middle(bucket));
            }
        }
        // Rounding may leave the last ones out.
        while let (true, Some(&last)) = ((samples.len() as u64) < many, samples.last()) {
            samples.push(last);
        }
        samples
    }

    /// The value below which this share of all values lies, from 0 to 1; 0 when there are none.
    pub fn quantile(&self, share: f64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "a rank needs no 53 bits")]
        let rank = share * self.count() as f64;
        let mut passed = 0;
        for (bucket, &here) in self.counts.iter().enumerate() {
            passed += here;
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            if here > 0 && passed as f64 >= rank {
                return middle(bucket);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_threads_add_is_summed_up() {
        let (counter, histogram) = (Counter::new(), Histogram::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for value in 0..10_000 {
                        counter.add(1);
                        histogram.record(value);
                    }
                });
            }
        });
        assert_eq!(counter.total(), 80_000);
        let mut seen = Seen::default();
        assert_eq!(histogram.since(&mut seen).count(), 80_000);
        assert_eq!(histogram.since(&mut seen).count(), 0);
        histogram.record(1);
        assert_eq!(histogram.since(&mut seen).count(), 1);
    }

    proptest! {
        #[test]
        fn values_are_off_by_no_more_than_a_sixty_fourth(value in 0..=MAX_VALUE) {
            let near = middle(bucket(value));
            prop_assert!(near.abs_diff(value) * 2 * STEPS <= value, "{} for {}", near, value);
        }

        #[test]
        fn buckets_are_in_order(value in 0..MAX_VALUE) {
            let (here, next) = (bucket(value), bucket(value + 1));
            prop_assert!(next == here || next == here + 1);
            prop_assert!(here < BUCKETS);
        }

        #[test]
        fn samples_stand_for_all(values in proptest::collection::vec(0..1000u64, 0..300), most in 1..50u64) {
            let histogram = Histogram::new();
            values.iter().for_each(|value| histogram.record(*value));
            let all = histogram.since(&mut Seen::default());
            let samples = all.samples(most);
            prop_assert_eq!(samples.len() as u64, most.min(values.len() as u64));
            prop_assert!(samples.is_sorted());
            if let (Some(first), Some(last)) = (samples.first(), samples.last()) {
                prop_assert!(*first >= all.quantile(0.0) && *last <= all.quantile(1.0));
            }
        }
    }

    #[test]
    fn a_set_has_each_value_once_and_not_too_many() {
        let set = Set::new();
        for number in 0..2 * MAX_VALUES {
            set.insert(SmolStr::new((number % (MAX_VALUES + 1)).to_string()));
        }
        assert_eq!(set.take().len(), MAX_VALUES);
        assert!(set.take().is_empty());
    }

    #[test]
    fn quantiles_are_where_they_should_be() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value));
        let all = histogram.since(&mut Seen::default());
        assert!(all.quantile(0.5).abs_diff(500) <= 500 / STEPS);
        assert!(all.quantile(0.99).abs_diff(990) <= 990 / STEPS);
        assert_eq!(Histogram::new().since(&mut Seen::default()).quantile(0.5), 0);
    }
}
