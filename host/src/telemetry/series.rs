//! Values that many threads record and one reports.
//!
//! Each thread adds to a cell of its own, so recording is one uncontended atomic
//! addition, without a lock. The reporter sums the cells up and sends what was
//! added since the last time.

use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

/// As many cells as threads that record at the same time, in powers of two.
static SHARDS: LazyLock<usize> =
    LazyLock::new(|| available_parallelism().map_or(1, usize::from).next_power_of_two().min(16));

thread_local! {
    static SHARD: usize = {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        THREADS.fetch_add(1, Ordering::Relaxed) & (*SHARDS - 1)
    };
}

/// This thread's part of a value; there is at least one.
fn own<T>(shards: &[T]) -> Option<&T> {
    shards.get(SHARD.with(|shard| *shard))
}

/// A cell in a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell(AtomicI64);

/// A sum: of what happened, or of what is there when it is taken off again.
#[derive(Clone, Debug)]
pub(crate) struct Counter(Arc<[Cell]>);

/// The last value that was set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gauge(Arc<AtomicU64>);

/// A distribution of values, none of them off by more than a sixteenth.
#[derive(Clone, Debug)]
pub(crate) struct Histogram(Arc<[Buckets]>);

/// How often a value fell into each bucket.
#[derive(Debug)]
#[repr(align(128))]
struct Buckets(Box<[AtomicU32]>);

/// Buckets of one power of two.
const STEPS: u64 = 16;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Larger values count as this: 19 hours in microseconds.
const MAX_VALUE: u64 = (1 << 36) - 1;
const BUCKETS: usize = bucket(MAX_VALUE) + 1;

/// The bucket of a value: exact below [`STEPS`], then so many to each power of
/// two.
#[expect(clippy::cast_possible_truncation, reason = "some hundreds at most")]
const fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let shift = value.ilog2() - STEP_BITS;
    ((shift as u64 + 1) * STEPS + (value >> shift) - STEPS) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let low = (STEPS + bucket % STEPS) << shift;
    low + ((1 << shift) >> 1)
}

impl Counter {
    pub(crate) fn new() -> Self {
        Self((0..*SHARDS).map(|_| Cell::default()).collect())
    }

    pub(crate) fn add(&self, delta: i64) {
        if let Some(cell) = own(&self.0) {
            cell.0.fetch_add(delta, Ordering::Relaxed);
        }
    }

    pub(crate) fn total(&self) -> i64 {
        self.0.iter().map(|cell| cell.0.load(Ordering::Relaxed)).fold(0, i64::wrapping_add)
    }
}

impl Gauge {
    pub(crate) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Histogram {
    pub(crate) fn new() -> Self {
        let buckets = || Buckets((0..BUCKETS).map(|_| AtomicU32::new(0)).collect());
        Self((0..*SHARDS).map(|_| buckets()).collect())
    }

    pub(crate) fn record(&self, value: u64) {
        let buckets = own(&self.0).and_then(|own| own.0.get(bucket(value.min(MAX_VALUE))));
        if let Some(bucket) = buckets {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was recorded since `seen`, which is brought up to date.
    pub(crate) fn since(&self, seen: &mut Seen) -> Distribution {
        seen.0.resize(self.0.len() * BUCKETS, 0);
        let mut counts = vec![0; BUCKETS];
        let all = self.0.iter().flat_map(|buckets| buckets.0.iter());
        for (index, (now, seen)) in all.zip(&mut seen.0).enumerate() {
            let now = now.load(Ordering::Relaxed);
            if let Some(count) = counts.get_mut(index % BUCKETS) {
                // Counts of 32 bits may go round; differences do not mind.
                *count += u64::from(now.wrapping_sub(*seen));
            }
            *seen = now;
        }
        Distribution { counts }
    }
}

/// How far a histogram has been read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Vec<u32>);

/// What was recorded in some time.
#[derive(Clone, Debug)]
pub(crate) struct Distribution {
    counts: Vec<u64>,
}

impl Distribution {
    /// How many values there are.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Up to `most` values that stand for all, in order: those at even ranks.
    pub(crate) fn samples(&self, most: u64) -> Vec<u64> {
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
        // What rounding left over.
        while let (true, Some(&last)) = ((samples.len() as u64) < many, samples.last()) {
            samples.push(last);
        }
        samples
    }

    /// The value below which a share of all lies; 0 when there is none.
    #[cfg(test)]
    fn quantile(&self, share: f64) -> u64 {
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
        fn a_bucket_is_no_wider_than_a_sixteenth(value in 0..=MAX_VALUE) {
            let near = middle(bucket(value));
            prop_assert!(near.abs_diff(value) * STEPS <= value, "{} for {}", near, value);
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
    fn quantiles_are_where_they_should_be() {
        let histogram = Histogram::new();
        (1..=1000).for_each(|value| histogram.record(value));
        let all = histogram.since(&mut Seen::default());
        assert!(all.quantile(0.5).abs_diff(500) <= 500 / STEPS);
        assert!(all.quantile(0.99).abs_diff(990) <= 990 / STEPS);
        assert_eq!(Histogram::new().since(&mut Seen::default()).quantile(0.5), 0);
    }
}
