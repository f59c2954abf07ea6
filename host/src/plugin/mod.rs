//! Plugins by name: where they come from, which version is live, which topics
//! they serve.
//!
//! ```text
//! sources ──build──▶ .wasm ──load──▶ Pool (one version) ──swap──▶ Plugin (live)
//! ```

mod build;
mod grants;
mod handler;
mod history;
mod kept;
mod registry;
mod share;
mod source;
mod trust;
mod versions;
mod watch;

pub use build::{BuildError, build};
pub use grants::{Denied, Grants, Need};
pub use handler::Handler;
pub(crate) use handler::Serves;
pub(crate) use history::Exchange;
pub(crate) use kept::{Kept, KeptVersion};
pub use registry::{Registry, RegistryError};
pub use share::{Share, ShareError};
pub(crate) use source::BUILT_FOLDER;
pub use source::Source;
pub use trust::{PublicKey, Trust, TrustError};
pub(crate) use versions::Answered;
pub use versions::Plugin;
pub use watch::watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::egress::{Egress, EgressConfig};
use crate::telemetry::{Metric, Metrics, PluginMeters};

/// What a plugin's instances know of their surroundings.
#[derive(Debug)]
pub struct Settings {
    /// The name in `millrace.toml`.
    pub name: String,
    /// Its `config` table: strings as they are, other values as TOML text.
    pub config: BTreeMap<String, String>,
    /// Where calls are measured.
    pub metrics: Metrics,
    /// What it measures itself.
    pub(crate) meters: Arc<PluginMeters>,
    /// Its requests to other servers.
    pub(crate) egress: Egress,
    /// What it may do.
    pub(crate) grants: Grants,
    /// Whether it may not do everything.
    pub(crate) is_limited: bool,
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
        let meters = Arc::new(PluginMeters::new(&metrics, &name));
        let (egress, grants) = (Egress::new(http), Grants::default());
        Self { name, config, metrics, meters, egress, grants, is_limited: false }
    }

    /// The same, with these grants rather than all.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { is_limited: grants.are_limited(), grants, ..self }
    }

    /// Whether the plugin may do something; it is counted when it may not.
    pub(crate) fn check(&self, need: &Need) -> Result<(), Denied> {
        self.grants.check(need).inspect_err(|denied| {
            self.metrics.count_of(Metric::PluginDenied, &[&self.name, denied.key], 1);
        })
    }
}
