//! `[swap]` and `[trust]`: how versions of plugins are exchanged, and which are
//! trusted.

use std::path::PathBuf;

use serde::Deserialize;

use super::defaults;
use crate::plugin::PublicKey;

/// `[swap]`: how a version takes another's place.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SwapConfig {
    /// A component that is uploaded; a larger one is refused.
    pub max_upload_bytes: usize,
    /// Uploads in a minute, of all plugins together; further ones are refused.
    pub max_uploads_per_minute: u32,
    /// The share of a watched version's calls that may come to nothing before it is
    /// rolled back.
    pub max_fault_rate: f64,
    /// The share that may answer their clients with an error. What is too much, only
    /// the plugin's author knows.
    pub max_error_rate: f64,
    /// It is not judged before it has had so many calls.
    pub min_calls: u64,
    /// Channels on whose assigns `migrate` is tried before a version goes live.
    pub samples: usize,
    /// Versions of a plugin that are kept on disk.
    pub keep: usize,
    /// Where they are; by default below the app's own folder.
    pub dir: Option<PathBuf>,
    /// Whether the version that is live is so after a restart; `millrace dev` builds
    /// its own anew.
    #[serde(skip)]
    pub is_forgotten: bool,
}

/// `[trust]`: who may have made a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrustConfig {
    /// Ed25519 keys, one of which has to have signed each component; none: anybody.
    pub keys: Vec<PublicKey>,
}

/// What the admin interface reads of a body, whatever is configured.
const MAX_UPLOAD_BYTES: usize = 256 * 1024 * 1024;

/// More only make the exchange wait.
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
    /// Checks what the types cannot say; an error begins with the key.
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
