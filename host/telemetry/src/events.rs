//! The rule which events of clients get a series of their own.
//!
//! Clients may send any event, and a StatsD server keeps a file for each series, so their number is
//! limited; all other events are counted as `other`.

/// The events that get a series of their own.
#[derive(Clone, Debug)]
pub enum EventNames {
    /// These events.
    Listed(Vec<String>),
    /// The first events of each topic pattern, up to this number.
    First(usize),
}

impl EventNames {
    /// The most events that may have a series.
    pub fn max(&self) -> usize {
        match self {
            Self::Listed(names) => names.len(),
            Self::First(max) => *max,
        }
    }

    /// Whether this event may have a series.
    pub fn allows(&self, event: &str) -> bool {
        match self {
            Self::Listed(names) => names.iter().any(|name| name == event),
            Self::First(_) => true,
        }
    }
}

impl Default for EventNames {
    fn default() -> Self {
        Self::First(0)
    }
}
