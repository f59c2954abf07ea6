//! The bounds of one call, and of the instance it runs in.

use serde::Deserialize;
use wasmtime::{ResourceLimiter, Result};

/// `[limits]`: the bounds of one plugin and of each of its calls.
#[derive(Clone, Copy, Debug, Deserialize)]
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
    /// Calls of the plugin at the same time; further ones wait.
    pub max_instances: u32,
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
        let limits = PluginLimits {
            fuel: 10,
            fuel_per_byte: 2,
            max_memory_bytes: 0,
            max_assigns_bytes: 0,
            max_effects: 0,
            max_effect_bytes: 0,
            max_instances: 0,
        };
        assert_eq!(limits.fuel_for(5), 20);
        assert_eq!(limits.fuel_for(usize::MAX), u64::MAX);
    }
}
