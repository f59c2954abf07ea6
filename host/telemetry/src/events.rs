//! Which events of clients get a series of their own.
//!
//! Clients may send any event, and a StatsD server keeps a file for each, so
//! there are only so many; the rest is `other`.

/// Which events get a series of their own.
#[derive(Clone, Debug)]
pub enum EventNames {
    /// These.
    Listed(Vec<String>),
    /// The first so many of each topic pattern.
    First(usize),
}

impl EventNames {
    /// How many there may be.
    pub fn max(&self) -> usize {
        match self {
            Self::Listed(names) => names.len(),
            Self::First(max) => *max,
        }
    }

    /// Whether an event may have one.
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
