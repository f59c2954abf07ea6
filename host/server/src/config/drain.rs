//! `[drain]`: how the server stops.

use serde::Deserialize;

use super::defaults;

/// `[drain]`: how the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "RawDrainConfig")]
pub struct DrainConfig {
    /// The time in milliseconds over which connections are closed in batches; up to 100 connections
    /// are closed at once.
    pub over_ms: u64,
    /// The time in milliseconds after which everything that has not ended is cut off.
    pub timeout_ms: u64,
}

/// The keys as they are given in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDrainConfig {
    over_ms: Option<u64>,
    timeout_ms: Option<u64>,
}

impl From<RawDrainConfig> for DrainConfig {
    fn from(given: RawDrainConfig) -> Self {
        let timeout_ms = given.timeout_ms.unwrap_or(defaults::DRAIN_TIMEOUT_MS);
        let over_ms = given.over_ms.unwrap_or(defaults::DRAIN_OVER_MS.min(timeout_ms));
        Self { over_ms, timeout_ms }
    }
}

impl DrainConfig {
    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        let Self { over_ms, timeout_ms } = *self;
        if over_ms <= timeout_ms {
            return Ok(());
        }
        Err(format!(
            "over_ms is {over_ms}, and timeout_ms {timeout_ms}, after which everything is cut off; \
             at most that is allowed"
        ))
    }
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { over_ms: defaults::DRAIN_OVER_MS, timeout_ms: defaults::DRAIN_TIMEOUT_MS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (u64, u64) {
        let drain: DrainConfig = toml::from_str(text).unwrap();
        assert!(drain.check().is_ok());
        (drain.over_ms, drain.timeout_ms)
    }

    #[test]
    fn no_batch_is_closed_after_everything_is_cut_off() {
        let default = (DrainConfig::default().over_ms, DrainConfig::default().timeout_ms);
        assert_eq!(read(""), default);
        assert_eq!(read("timeout_ms = 500"), (500, 500));
        assert_eq!(read("over_ms = 0\ntimeout_ms = 0"), (0, 0));
        let error = DrainConfig { over_ms: 9000, timeout_ms: 8000 }.check().unwrap_err();
        assert!(error.contains("over_ms is 9000, and timeout_ms 8000"), "{error}");
    }
}
