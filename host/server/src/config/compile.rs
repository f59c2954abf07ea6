//! `[compile]`: the limits of compiling a plugin.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::defaults;

/// `[compile]`: the limits of compiling one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompileConfig {
    /// The memory of the process that compiles, in bytes.
    pub max_memory_bytes: u64,
    /// The time in milliseconds within which a plugin must be compiled; otherwise it is refused.
    pub timeout_ms: u64,
    /// The `millrace` program, which compiles in a process of its own. Without one, plugins are
    /// compiled in this process, without any limit.
    #[serde(skip)]
    pub program: Option<PathBuf>,
}

impl CompileConfig {
    /// The time within which a plugin must be compiled.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, value) in
            [("max_memory_bytes", self.max_memory_bytes), ("timeout_ms", self.timeout_ms)]
        {
            if value == 0 {
                return Err(format!("{key} is 0; at least 1 is allowed"));
            }
        }
        Ok(())
    }
}

impl Default for CompileConfig {
    fn default() -> Self {
        Self {
            max_memory_bytes: defaults::COMPILE_MEMORY_BYTES,
            timeout_ms: defaults::COMPILE_TIMEOUT_MS,
            program: None,
        }
    }
}
