//! `[drain]`: how the server stops.

use serde::Deserialize;

use super::defaults;

/// `[drain]`: how the server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub struct DrainConfig {
    /// The connections are closed in batches over this time; up to 100 at once.
    pub over_ms: u64,
    /// What has not ended by then is cut off.
    pub timeout_ms: u64,
}

/// What of it a file has.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Given {
    over_ms: Option<u64>,
    timeout_ms: Option<u64>,
}

impl TryFrom<Given> for DrainConfig {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let timeout_ms = given.timeout_ms.unwrap_or(defaults::DRAIN_TIMEOUT_MS);
        match given.over_ms {
            Some(over_ms) if over_ms > timeout_ms => Err(format!(
                "over_ms is {over_ms}, and timeout_ms {timeout_ms}, after which everything is cut \
                 off; at most that is allowed"
            )),
            Some(over_ms) => Ok(Self { over_ms, timeout_ms }),
            None => Ok(Self { over_ms: defaults::DRAIN_OVER_MS.min(timeout_ms), timeout_ms }),
        }
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

    fn read(text: &str) -> Result<(u64, u64), String> {
        let drain = toml::from_str::<DrainConfig>(text).map_err(|error| error.to_string())?;
        Ok((drain.over_ms, drain.timeout_ms))
    }

    #[test]
    fn no_batch_is_closed_after_everything_is_cut_off() {
        let default = (DrainConfig::default().over_ms, DrainConfig::default().timeout_ms);
        assert_eq!(read(""), Ok(default));
        assert_eq!(read("timeout_ms = 500"), Ok((500, 500)));
        assert_eq!(read("over_ms = 0\ntimeout_ms = 0"), Ok((0, 0)));
        let error = read("over_ms = 9000").unwrap_err();
        assert!(error.contains("over_ms is 9000, and timeout_ms 8000"), "{error}");
    }
}
