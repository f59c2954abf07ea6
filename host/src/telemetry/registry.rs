//! All series of a server by their names and labels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::series::{Counter, Gauge, Histogram};

/// A metric's name, and the values of its labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) labels: Vec<(&'static str, String)>,
}

/// What is recorded under a key.
#[derive(Clone, Debug)]
pub(crate) enum Series {
    /// What happened.
    Counter(Counter),
    /// What was set last.
    Gauge(Gauge),
    /// Durations in microseconds.
    Timing(Histogram),
}

/// Kinds of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Timing,
}

/// Looked into without a lock; a new series makes a new map.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    series: ArcSwap<HashMap<Key, Series>>,
    adding: Mutex<()>,
}

/// Series of a server. Names and labels come from plugins too, and a server at
/// the other end keeps a file for each.
const MAX_SERIES: usize = 4096;

impl Registry {
    /// The series of a key, made if it is new. `None` when there are
    /// [`MAX_SERIES`], or when the name is taken by another kind.
    pub(crate) fn series(&self, key: &Key, kind: Kind) -> Option<Series> {
        if let Some(series) = self.series.load().get(key) {
            return (series.kind() == kind).then(|| series.clone());
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.series.load_full();
        if let Some(series) = before.get(key) {
            return (series.kind() == kind).then(|| series.clone());
        }
        if before.len() >= MAX_SERIES {
            return None;
        }
        let series = Series::new(kind);
        let mut after = HashMap::clone(&before);
        after.insert(key.clone(), series.clone());
        self.series.store(Arc::new(after));
        Some(series)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Arc<HashMap<Key, Series>> {
        self.series.load_full()
    }
}

impl Series {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Counter(Counter::new()),
            Kind::Gauge => Self::Gauge(Gauge::default()),
            Kind::Timing => Self::Timing(Histogram::new()),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Timing(_) => Kind::Timing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { name: name.to_owned(), labels: vec![("event", "ping".to_owned())] }
    }

    #[test]
    fn a_key_has_one_series_of_one_kind() {
        let registry = Registry::default();
        for _ in 0..2 {
            let Some(Series::Counter(counter)) = registry.series(&key("a"), Kind::Counter) else {
                panic!("a counter was expected")
            };
            counter.add(1);
        }
        let Some(Series::Counter(counter)) = registry.series(&key("a"), Kind::Counter) else {
            panic!("a counter was expected")
        };
        assert_eq!(counter.total(), 2);
        assert!(registry.series(&key("a"), Kind::Gauge).is_none());
        assert_eq!(registry.all().len(), 1);
    }

    #[test]
    fn there_are_no_more_than_that() {
        let registry = Registry::default();
        for number in 0..MAX_SERIES {
            assert!(registry.series(&key(&number.to_string()), Kind::Gauge).is_some());
        }
        assert!(registry.series(&key("more"), Kind::Gauge).is_none());
        assert!(registry.series(&key("0"), Kind::Gauge).is_some());
    }
}
