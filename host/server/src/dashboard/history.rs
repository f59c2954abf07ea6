//! The last five minutes of samples.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::snapshot::{Sample, Snapshot};

/// The samples of the last minutes and the last snapshot, shared by all who look at the page.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<Recent>);

#[derive(Debug, Default, Serialize)]
struct Recent {
    /// The samples, the oldest first, about one a second.
    samples: VecDeque<Sample>,
    now: Option<Snapshot>,
}

/// The number of samples: five minutes of them; the oldest goes.
const MAX_SAMPLES: usize = 300;

impl History {
    /// Adds a snapshot.
    pub(crate) fn push(&self, snapshot: Snapshot) {
        let mut recent = self.lock();
        if recent.samples.len() >= MAX_SAMPLES {
            recent.samples.pop_front();
        }
        recent.samples.push_back(snapshot.sample.clone());
        recent.now = Some(snapshot);
    }

    /// The samples and the last snapshot as JSON.
    pub(crate) fn json(&self) -> String {
        // Numbers, strings and maps of them can always be written as JSON.
        serde_json::to_string(&*self.lock()).unwrap_or_default()
    }

    /// The last snapshot; `None` before the first.
    pub(crate) fn now(&self) -> Option<Snapshot> {
        self.lock().now.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
