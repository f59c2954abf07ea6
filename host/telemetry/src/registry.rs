//! The registry: all series of a server by their names and labels.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::series::{Counter, Gauge, Histogram, Set};

/// The key of a series: a metric's name, and the values of its labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    /// The metric's name, without the prefix.
    pub name: String,
    /// The names and values of the labels.
    pub labels: Vec<(&'static str, String)>,
}

/// The values that are recorded under a key.
#[derive(Clone, Debug)]
pub enum Series {
    /// A sum of what happened; its growth is reported.
    Counter(Counter),
    /// A sum of what exists now, reported as it is.
    Level(Counter),
    /// The value that was set last.
    Gauge(Gauge),
    /// Durations in microseconds.
    Timing(Histogram),
    /// Whole numbers.
    Distribution(Histogram),
    /// Numbers in thousandths.
    Histogram(Histogram),
    /// Different values, each of which counts once.
    Set(Set),
}

/// The kind of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Level,
    Gauge,
    Timing,
    Distribution,
    Histogram,
    Set,
}

/// All series of a server. They are read without a lock; a new series copies the map.
#[derive(Debug, Default)]
pub struct Registry {
    series: ArcSwap<All>,
    /// Locked while the map is copied. It has the keys of the series that only the registry held at
    /// the last [`Registry::sweep`].
    changing: Mutex<HashSet<Arc<SeriesKey>>>,
}

/// All series by their keys.
pub(crate) type All = HashMap<Arc<SeriesKey>, Series>;

/// The most series of a server. Names and labels come from plugins too, and a StatsD server keeps a
/// file for each series.
const MAX_SERIES: usize = 4096;

impl Registry {
    /// The series of a key, which is made if it is new. `None` when there are [`MAX_SERIES`], or
    /// when the key has a series of another kind.
    pub fn series(&self, key: SeriesKey, kind: Kind) -> Option<Series> {
        if let Some(series) = self.series.load().get(&key) {
            return (series.kind() == kind).then(|| series.clone());
        }
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.series.load_full();
        if let Some(series) = before.get(&key) {
            return (series.kind() == kind).then(|| series.clone());
        }
        if before.len() >= MAX_SERIES {
            return None;
        }
        let series = Series::new(kind);
        let mut after = HashMap::clone(&before);
        after.insert(Arc::new(key), series.clone());
        self.series.store(Arc::new(after));
        Some(series)
    }

    /// All series.
    pub fn all(&self) -> Arc<All> {
        self.series.load_full()
    }

    /// Removes the series of plugin versions that are gone: those that nobody can add to, neither
    /// now nor at the last sweep.
    pub fn sweep(&self) {
        let mut alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.series.load_full();
        let alone_now = before.iter().filter(|(key, s)| key.is_temporary() && s.is_alone());
        let now: HashSet<_> = alone_now.map(|(key, _)| Arc::clone(key)).collect();
        if now.iter().any(|key| alone.contains(key)) {
            let left =
                before.iter().filter(|(key, _)| !(now.contains(*key) && alone.contains(*key)));
            let left = left.map(|(key, series)| (Arc::clone(key), series.clone())).collect();
            self.series.store(Arc::new(left));
        }
        *alone = now;
    }
}

impl SeriesKey {
    /// Whether the series belongs to something that is replaced while the server runs: a plugin's
    /// version.
    fn is_temporary(&self) -> bool {
        self.labels.iter().any(|(label, _)| *label == "version")
    }
}

impl Series {
    /// An empty series.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Counter::new()),
            Kind::Level => Self::Level(Counter::new()),
            Kind::Gauge => Self::Gauge(Gauge::new()),
            Kind::Timing => Self::Timing(Histogram::new()),
            Kind::Distribution => Self::Distribution(Histogram::new()),
            Kind::Histogram => Self::Histogram(Histogram::new()),
            Kind::Set => Self::Set(Set::new()),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Level(_) => Kind::Level,
            Self::Gauge(_) => Kind::Gauge,
            Self::Timing(_) => Kind::Timing,
            Self::Distribution(_) => Kind::Distribution,
            Self::Histogram(_) => Kind::Histogram,
            Self::Set(_) => Kind::Set,
        }
    }

    /// Whether only the registry holds the series, so that nobody can add to it.
    fn is_alone(&self) -> bool {
        match self {
            Self::Counter(counter) | Self::Level(counter) => counter.is_alone(),
            Self::Gauge(gauge) => gauge.is_alone(),
            Self::Timing(h) | Self::Distribution(h) | Self::Histogram(h) => h.is_alone(),
            Self::Set(set) => set.is_alone(),
        }
    }
}

impl Kind {
    /// The word for the kind in the docs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Level | Self::Gauge => "gauge",
            Self::Timing => "timing",
            Self::Distribution => "distribution",
            Self::Histogram => "histogram",
            Self::Set => "set",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> SeriesKey {
        SeriesKey { name: name.to_owned(), labels: vec![("version", "1".to_owned())] }
    }

    #[test]
    fn a_key_has_one_series_of_one_kind() {
        let registry = Registry::default();
        for _ in 0..2 {
            let Some(Series::Counter(counter)) = registry.series(key("a"), Kind::Counter) else {
                panic!("a counter was expected")
            };
            counter.add(1);
        }
        let Some(Series::Counter(counter)) = registry.series(key("a"), Kind::Counter) else {
            panic!("a counter was expected")
        };
        assert_eq!(counter.total(), 2);
        assert!(registry.series(key("a"), Kind::Gauge).is_none());
        assert_eq!(registry.all().len(), 1);
    }

    #[test]
    fn there_are_no_more_than_that() {
        let registry = Registry::default();
        for number in 0..MAX_SERIES {
            assert!(registry.series(key(&number.to_string()), Kind::Gauge).is_some());
        }
        assert!(registry.series(key("more"), Kind::Gauge).is_none());
        assert!(registry.series(key("0"), Kind::Gauge).is_some());
    }

    #[test]
    fn what_nobody_holds_goes_at_the_second_sweep() {
        let registry = Registry::default();
        let held = registry.series(key("held"), Kind::Timing);
        drop(registry.series(key("gone"), Kind::Timing));
        registry.sweep();
        assert_eq!(registry.all().len(), 2);
        registry.sweep();
        assert_eq!(registry.all().len(), 1);
        assert!(held.is_some() && registry.all().contains_key(&key("held")));
    }
}
