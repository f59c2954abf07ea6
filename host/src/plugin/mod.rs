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

use tracing::warn;

use crate::egress::{Egress, EgressConfig};
use crate::telemetry::{Metric, Metrics, PluginMeters, Seldom};

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
    /// Its lines about what is no client's message: events, above all.
    own_lines: Seldom,
}

/// Enough to see what is wrong; one request may bring ten thousand events that fail.
const OWN_LINES_PER_SECOND: u32 = 100;

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
        let own_lines = Seldom::per_second(OWN_LINES_PER_SECOND);
        Self { name, config, metrics, meters, egress, grants, is_limited: false, own_lines }
    }

    /// The same, with these grants rather than all.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { is_limited: grants.are_limited(), grants, ..self }
    }

    /// Whether one more line of its own, about no client's message, is logged.
    pub(crate) fn takes_own_line(&self) -> bool {
        let Some(line) = self.own_lines.pass() else { return false };
        if let Some(left_out) = line.left_out() {
            let plugin = self.name.as_str();
            warn!(plugin, left_out, "it logged more than {OWN_LINES_PER_SECOND} lines a second");
        }
        true
    }

    /// Whether the plugin may do something; it is counted when it may not.
    pub(crate) fn check(&self, need: &Need) -> Result<(), Denied> {
        self.grants.check(need).inspect_err(|denied| {
            self.metrics.count_of(Metric::PluginDenied, &[&self.name, denied.key], 1);
        })
    }
}
