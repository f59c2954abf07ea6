//! The last minutes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::snapshot::{Sample, Snapshot};

/// The last minutes, and how it stands; for everybody who looks.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Kept>);

#[derive(Debug, Default, Serialize)]
struct Kept {
    /// Oldest first, about one a second.
    samples: VecDeque<Sample>,
    now: Option<Snapshot>,
}

/// Five minutes.
const MAX_SAMPLES: usize = 300;

impl History {
    /// Takes a snapshot.
    pub(crate) fn push(&self, snapshot: Snapshot) {
        let mut kept = self.lock();
        if kept.samples.len() >= MAX_SAMPLES {
            kept.samples.pop_front();
        }
        kept.samples.push_back(snapshot.sample.clone());
        kept.now = Some(snapshot);
    }

    /// All of it as JSON.
    pub(crate) fn json(&self) -> String {
        // Numbers, strings and maps of them: always possible.
        serde_json::to_string(&*self.lock()).unwrap_or_default()
    }

    /// How it stands, as soon as somebody has looked.
    pub(crate) fn now(&self) -> Option<Snapshot> {
        self.lock().now.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
