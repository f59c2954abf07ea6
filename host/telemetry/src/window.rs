//! What was recorded since the last look.

use std::collections::HashMap;
use std::sync::Arc;

use super::registry::{Key, Registry, Series};
use super::series::{Distribution, Seen};

/// One who looks, from time to time.
#[derive(Debug, Default)]
pub struct Window {
    totals: HashMap<Arc<Key>, i64>,
    seen: HashMap<Arc<Key>, Seen>,
}

/// What a series has to say.
#[derive(Clone, Debug)]
pub enum Reading {
    /// So much was added.
    Added(i64),
    /// It stands so.
    Level(f64),
    /// These durations in microseconds were recorded.
    Timing(Distribution),
    /// These whole values.
    Distribution(Distribution),
    /// These thousandths.
    Histogram(Distribution),
}

impl Window {
    /// All series to which something was added, and all that have a level. Sets
    /// have no memory: who takes their values has them alone.
    pub fn next(&mut self, registry: &Registry) -> Vec<(Arc<Key>, Reading)> {
        let all = registry.all();
        // Those that were removed begin anew if they come back.
        self.totals.retain(|key, _| all.contains_key(key));
        self.seen.retain(|key, _| all.contains_key(key));
        let read = |(key, series)| Some((Arc::clone(key), self.read(key, series)?));
        all.iter().filter_map(read).collect()
    }

    fn read(&mut self, key: &Arc<Key>, series: &Series) -> Option<Reading> {
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
