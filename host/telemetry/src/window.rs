//! Differences: what was recorded since the last reading.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::{Registry, Series, SeriesKey};
use super::series::{Distribution, Seen};

/// A reader of all series, who remembers the totals of the last reading.
#[derive(Debug, Default)]
pub struct Window {
    totals: HashMap<Arc<SeriesKey>, i64>,
    seen: HashMap<Arc<SeriesKey>, Seen>,
}

/// What a series has recorded since the last reading.
#[derive(Clone, Debug)]
pub enum Reading {
    /// The number that was added.
    Added(i64),
    /// The current value of a level or gauge.
    Level(f64),
    /// The durations in microseconds that were recorded.
    Timing(Distribution),
    /// The whole numbers that were recorded.
    Distribution(Distribution),
    /// The thousandths that were recorded.
    Histogram(Distribution),
}

impl Window {
    /// Reads all series: those to which something was added, and all that have a level. Sets are
    /// left out, because only one reader can take their values.
    pub fn next(&mut self, registry: &Registry) -> Vec<(Arc<SeriesKey>, Reading)> {
        let all = registry.all();
        // A series that was removed begins anew if it comes back.
        self.totals.retain(|key, _| all.contains_key(key));
        self.seen.retain(|key, _| all.contains_key(key));
        let read = |(key, series)| Some((Arc::clone(key), self.read(key, series)?));
        all.iter().filter_map(read).collect()
    }

    fn read(&mut self, key: &Arc<SeriesKey>, series: &Series) -> Option<Reading> {
        let mut since = |histogram: &super::series::Histogram| {
            let all = histogram.since(self.seen.entry(Arc::clone(key)).or_default());
            (all.count() > 0).then_some(all)
        };
        match series {
            Series::Counter(counter) => {
                let total = counter.total();
                let before = self.totals.insert(Arc::clone(key), total).unwrap_or_default();
                let added = total.wrapping_sub(before);
                (added != 0).then_some(Reading::Added(added))
            }
            #[expect(clippy::cast_precision_loss, reason = "levels are below 2^53")]
            Series::Level(counter) => Some(Reading::Level(counter.total() as f64)),
            Series::Gauge(gauge) => gauge.get().map(Reading::Level),
            Series::Timing(histogram) => since(histogram).map(Reading::Timing),
            Series::Distribution(histogram) => since(histogram).map(Reading::Distribution),
            Series::Histogram(histogram) => since(histogram).map(Reading::Histogram),
            Series::Set(_) => None,
        }
    }
}
