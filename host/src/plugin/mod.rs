//! Plugins by name: where they come from, which version is live, which topics
//! they serve.
//!
//! ```text
//! sources ──build──▶ .wasm ──load──▶ Pool (one version) ──swap──▶ Plugin (live)
//! ```

mod build;
mod registry;
mod source;
mod watch;

pub use build::{BuildError, build};
pub use registry::{Plugin, Registry, RegistryError};
pub use source::Source;
pub use watch::watch;

use std::collections::BTreeMap;

use crate::egress::{Egress, EgressConfig};
use crate::telemetry::Metrics;

/// What a plugin's instances know of their surroundings.
#[derive(Debug)]
pub struct Settings {
    /// The name in `millrace.toml`.
    pub name: String,
    /// Its `config` table: strings as they are, other values as TOML text.
    pub config: BTreeMap<String, String>,
    /// Where its measurements go.
    pub metrics: Metrics,
    /// Its requests to other servers.
    pub(crate) egress: Egress,
}

impl Settings {
    /// The surroundings of the plugin `name`.
    #[must_use]
    pub fn new(
        name: String,
        config: BTreeMap<String, String>,
        http: EgressConfig,
        metrics: Metrics,
    ) -> Self {
        Self { name, config, metrics, egress: Egress::new(http) }
    }
}
