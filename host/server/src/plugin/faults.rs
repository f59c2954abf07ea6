//! The last faults of plugins, for people to read.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use millrace_telemetry::{LogLimiter, Passed};
use millrace_wasm::Fault;
use serde::Serialize;

/// A fault, or several of the same plugin, cause and message.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecentFault {
    /// The time of the last one, in seconds since the Unix epoch.
    at: f64,
    plugin: String,
    cause: &'static str,
    topic: String,
    /// The message, cut after [`MAX_MESSAGE_CHARS`] characters.
    message: String,
    /// The number of faults of this plugin, cause and message.
    count: u64,
}

/// The last faults of all plugins.
#[derive(Debug, Default)]
pub(crate) struct RecentFaults {
    last: Mutex<VecDeque<RecentFault>>,
    /// The limits of log lines, by plugin.
    lines: Mutex<HashMap<String, LogLimiter>>,
}

/// The number of faults that are kept; the oldest goes.
const MAX_FAULTS: usize = 20;
/// The characters of a message that are kept.
const MAX_MESSAGE_CHARS: usize = 300;
/// The number of faults of one plugin that are logged in a second; a client may cause thousands.
const LINES_PER_SECOND: u32 = 10;

impl RecentFaults {
    /// Asks for a log line for a fault of a plugin; `None` if there were too many in this second.
    pub(crate) fn line(&self, plugin: &str) -> Option<Passed> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lines) = lines.get(plugin) {
            return lines.pass();
        }
        let new = || LogLimiter::per_second(LINES_PER_SECOND);
        lines.entry(plugin.to_owned()).or_insert_with(new).pass()
    }

    /// Adds a fault, in place of the same one if it is there.
    pub(crate) fn push(&self, fault: &Fault, plugin: &str, topic: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (at, cause) = (now.as_secs_f64(), fault.kind.as_str());
        let message: String = fault.message.chars().take(MAX_MESSAGE_CHARS).collect();
        let topic = topic.to_owned();
        let mut faults = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |f: &RecentFault| f.plugin == plugin && f.cause == cause && f.message == message;
        let before = faults.iter().position(same).and_then(|place| faults.remove(place));
        let count = before.map_or(0, |fault| fault.count) + 1;
        let plugin = plugin.to_owned();
        faults.push_back(RecentFault { at, plugin, cause, topic, message, count });
        if faults.len() > MAX_FAULTS {
            faults.pop_front();
        }
    }

    /// The last faults of one plugin, the newest first.
    pub(crate) fn of(&self, plugin: &str) -> Vec<RecentFault> {
        let mut faults = self.newest_first();
        faults.retain(|fault| fault.plugin == plugin);
        faults
    }

    /// The last faults of all plugins, the newest first.
    pub(crate) fn newest_first(&self) -> Vec<RecentFault> {
        let faults = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        faults.iter().rev().cloned().collect()
    }
}
