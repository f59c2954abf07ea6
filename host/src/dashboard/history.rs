//! The last minutes.

use std::collections::VecDeque;

use serde::Serialize;

use super::snapshot::{Sample, Snapshot};

/// The last minutes, and how it stands.
#[derive(Debug, Default, Serialize)]
pub(crate) struct History {
    /// Oldest first, about one a second.
    samples: VecDeque<Sample>,
    now: Option<Snapshot>,
}

/// Five minutes.
const MAX_SAMPLES: usize = 300;

impl History {
    /// Takes a snapshot.
    pub(crate) fn push(&mut self, snapshot: Snapshot) {
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(snapshot.sample.clone());
        self.now = Some(snapshot);
    }

    /// All of it as JSON.
    pub(crate) fn json(&self) -> String {
        // Numbers, strings and maps of them: always possible.
        serde_json::to_string(self).unwrap_or_default()
    }
}
