//! `[swap]` and `[trust]`: how versions of plugins are exchanged, and which are trusted.

use std::path::PathBuf;

use serde::Deserialize;

use super::defaults;
use crate::plugin::PublicKey;

/// `[swap]`: how one version of a plugin replaces another.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwapConfig {
    /// The largest component in bytes that may be uploaded; a larger one is refused.
    pub max_upload_bytes: usize,
    /// The most uploads per minute, of all plugins together; further ones are refused.
    pub max_uploads_per_minute: u32,
    /// The share of a watched version's calls that may fail, from 0 to 1; above it, the version is
    /// rolled back.
    pub max_fault_rate: f64,
    /// The share of its calls that may answer their clients with an error, from 0 to 1. Only the
    /// plugin's author knows what is too much.
    pub max_error_rate: f64,
    /// The number of calls before which a version is not judged.
    pub min_calls: u64,
    /// The number of channels on whose assigns `migrate` is tried before a version goes live.
    pub samples: usize,
    /// The number of versions of a plugin that are stored on disk.
    pub keep: usize,
    /// The folder in which they are stored; by default one below the app's own folder.
    pub dir: Option<PathBuf>,
    /// Whether a restart forgets which version was live, as in `millrace dev`, which builds its own
    /// anew.
    #[serde(skip)]
    pub is_forgotten: bool,
}

/// `[trust]`: who may have made a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrustConfig {
    /// The Ed25519 keys, one of which must have signed each component; without any, nobody has to.
    pub keys: Vec<PublicKey>,
}

/// The largest body that the admin interface reads, in bytes, whatever is configured.
const MAX_UPLOAD_BYTES: usize = 256 * 1024 * 1024;

/// The most samples; more would only delay the exchange.
const MAX_SAMPLES: usize = 10_000;

impl Default for SwapConfig {
    fn default() -> Self {
        Self {
            max_upload_bytes: defaults::MAX_UPLOAD_BYTES,
            max_uploads_per_minute: defaults::MAX_UPLOADS_PER_MINUTE,
            max_fault_rate: defaults::MAX_FAULT_RATE,
            max_error_rate: defaults::MAX_ERROR_RATE,
            min_calls: defaults::MIN_CALLS,
            samples: defaults::MIGRATION_SAMPLES,
            keep: defaults::KEPT_VERSIONS,
            dir: None,
            is_forgotten: false,
        }
    }
}

impl SwapConfig {
    /// Checks what the types cannot; an error begins with the key.
    pub(super) fn check(&self) -> Result<(), String> {
        let rates =
            [("max_fault_rate", self.max_fault_rate), ("max_error_rate", self.max_error_rate)];
        if let Some((key, found)) = rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(format!("{key} is {found}; 0 to 1 are allowed"));
        }
        let (found, most) = (self.max_upload_bytes, MAX_UPLOAD_BYTES);
        if !(1..=most).contains(&found) {
            return Err(format!("max_upload_bytes is {found}; 1 to {most} are allowed"));
        }
        if self.samples > MAX_SAMPLES {
            let found = self.samples;
            return Err(format!("samples is {found}; at most {MAX_SAMPLES} are allowed"));
        }
        if self.max_uploads_per_minute == 0 {
            return Err("max_uploads_per_minute is 0; at least 1 is allowed".to_owned());
        }
        Ok(())
    }
}
