//! The bounds of one call, and of the instance it runs in.

use serde::{Deserialize, Serialize};
use wasmtime::{ResourceLimiter, Result};

/// `[limits]`: the bounds of one plugin and of each of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginLimits {
    /// Fuel for any call: about one unit for each Wasm instruction. A call that
    /// uses it up traps.
    pub fuel: u64,
    /// More fuel for each byte of payload and assigns, as copying a byte costs
    /// one unit and parsing it some tens.
    pub fuel_per_byte: u64,
    /// Linear memory of one instance, all its memories together.
    pub max_memory_bytes: usize,
    /// Assigns a call may return.
    pub max_assigns_bytes: usize,
    /// Effects a call may return.
    pub max_effects: usize,
    /// Their payloads together.
    pub max_effect_bytes: usize,
    /// Measurements of one call; what is past them is left out.
    pub max_metrics: usize,
    /// Calls and tasks of the plugin at the same time; further ones wait.
    pub max_instances: u32,
    /// Calls of one channel at the same time. More than 1 gives up the order of
    /// its messages: each call sees the assigns as they were when it started,
    /// and the last to return some wins.
    pub max_concurrency: usize,
    /// A join that takes longer is refused with `join timeout`.
    pub join_timeout_ms: u64,
    /// Any other call of a channel that takes longer comes to nothing; a client
    /// that waits gets the error `handler timeout`.
    pub call_timeout_ms: u64,
    /// A task that takes longer comes to nothing; the message that started it is
    /// answered with the error `task timeout`.
    pub task_timeout_ms: u64,
    /// Tasks of the plugin at the same time; the message that wanted to start a
    /// further one gets the error `overloaded`.
    pub max_tasks: usize,
    /// What happens to a plugin whose calls trap again and again.
    pub on_faults: OnFaults,
    /// What happens to a channel whose assigns a new version cannot take over.
    pub on_migrate: OnMigrate,
}

/// What happens to a channel whose assigns a version of its plugin cannot take
/// over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnMigrate {
    /// It is closed with `phx_error`, and its client joins anew.
    #[default]
    Rejoin,
    /// The version that can read them goes on serving it until its client leaves.
    KeepOld,
    /// A version that fails with one of the channels it is tried on does not go
    /// live. One that fails later is as `rejoin`.
    Reject,
}

/// What happens to a plugin of whose calls more than a third trap, after a
/// hundred of those; named as Envoy's failure policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFaults {
    /// It is held back for a while, twice as long each time, then tried again.
    #[default]
    Reload,
    /// It is not called again until another version of it is loaded.
    Closed,
    /// Nothing: each call gets a new instance, whatever that costs.
    Open,
}

impl PluginLimits {
    /// The fuel of a call that is handed `bytes`.
    #[must_use]
    pub fn fuel_for(&self, bytes: usize) -> u64 {
        self.fuel.saturating_add(self.fuel_per_byte.saturating_mul(bytes as u64))
    }
}

/// Holds an instance to its memory, and remembers that it had to.
#[derive(Debug)]
pub(super) struct MemoryLimiter {
    max_bytes: usize,
    used_bytes: usize,
    refused: bool,
}

/// Function tables of a plugin have thousands of entries at most.
const MAX_TABLE_ELEMENTS: usize = 100_000;

impl MemoryLimiter {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max_bytes, used_bytes: 0, refused: false }
    }

    /// Whether the instance wanted more than it may have.
    pub(super) fn refused(&self) -> bool {
        self.refused
    }

    /// Linear memory in use. It never shrinks.
    pub(super) fn used_bytes(&self) -> usize {
        self.used_bytes
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let used = self.used_bytes.saturating_add(desired.saturating_sub(current));
        let allowed = used <= self.max_bytes;
        match allowed {
            true => self.used_bytes = used,
            false => self.refused = true,
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= MAX_TABLE_ELEMENTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_count_together() {
        let mut limiter = MemoryLimiter::new(100);
        assert!(limiter.memory_growing(0, 60, None).unwrap());
        assert!(!limiter.memory_growing(0, 60, None).unwrap());
        assert!(limiter.refused());
        assert!(limiter.memory_growing(60, 100, None).unwrap());
        assert_eq!(limiter.used_bytes(), 100);
    }

    #[test]
    fn fuel_grows_with_what_a_call_is_handed() {
        let limits = PluginLimits { fuel: 10, fuel_per_byte: 2, ..Default::default() };
        assert_eq!(limits.fuel_for(5), 20);
        assert_eq!(limits.fuel_for(usize::MAX), u64::MAX);
    }
}
