//! The last faults of plugins, for people to read.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::wasm::Fault;

/// A fault, or some of the same.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecentFault {
    /// Seconds since the Unix epoch, of the last one.
    at: f64,
    plugin: String,
    cause: &'static str,
    topic: String,
    /// Its first lines.
    message: String,
    /// How many there were of this plugin, cause and message.
    count: u64,
}

/// The last faults.
#[derive(Debug, Default)]
pub(crate) struct RecentFaults(Mutex<VecDeque<RecentFault>>);

/// How many are kept.
const MAX_FAULTS: usize = 20;
/// What is kept of a message.
const MAX_MESSAGE_CHARS: usize = 300;

impl RecentFaults {
    /// Takes a fault.
    pub(crate) fn push(&self, fault: &Fault, plugin: &str, topic: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (at, cause) = (now.as_secs_f64(), fault.kind.as_str());
        let message: String = fault.message.chars().take(MAX_MESSAGE_CHARS).collect();
        let topic = topic.to_owned();
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |f: &RecentFault| f.plugin == plugin && f.cause == cause && f.message == message;
        let before = faults.iter().position(same).and_then(|place| faults.remove(place));
        let count = before.map_or(0, |fault| fault.count) + 1;
        let plugin = plugin.to_owned();
        faults.push_back(RecentFault { at, plugin, cause, topic, message, count });
        if faults.len() > MAX_FAULTS {
            faults.pop_front();
        }
    }

    /// Those of one plugin.
    pub(crate) fn of(&self, plugin: &str) -> Vec<RecentFault> {
        let mut faults = self.newest_first();
        faults.retain(|fault| fault.plugin == plugin);
        faults
    }

    /// All of them.
    pub(crate) fn newest_first(&self) -> Vec<RecentFault> {
        let faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().rev().cloned().collect()
    }
}
