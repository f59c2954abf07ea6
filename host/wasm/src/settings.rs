//! What the instances of a plugin know of their surroundings.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use millrace_session::channel::{NotARef, RefKey, SocketRef, Unsealed};
use millrace_telemetry::{LogLimiter, Metric, Metrics, Passed, PluginMeters};
use tracing::warn;

use super::grants::{Denied, Grants, Need};
use crate::egress::{Egress, EgressConfig, OwnPorts};

/// A value of a plugin's `config` table, which may be exchanged while instances run.
pub type ConfigValue = Arc<ArcSwap<String>>;

/// What a plugin's instances know of their surroundings.
#[derive(Debug)]
pub struct Settings {
    /// The name in `millrace.toml`.
    pub name: String,
    /// Its `config` table: strings as they are, other values as TOML text.
    pub config: BTreeMap<String, ConfigValue>,
    /// Where calls are measured.
    pub metrics: Metrics,
    /// What it measures itself.
    pub meters: Arc<PluginMeters>,
    /// Its requests to other servers.
    pub egress: Egress,
    /// What it may do.
    pub grants: Grants,
    /// Whether it may not do everything.
    pub is_limited: bool,
    /// Seals socket refs; without it, it is given none.
    refs: Option<RefKey>,
    /// Its lines about what is no client's message: events, above all.
    own_lines: LogLimiter,
    /// All its lines.
    lines: LogLimiter,
    /// Those about what is withheld from it.
    withheld: LogLimiter,
}

/// Enough to see what is wrong; one request may bring ten thousand events that fail.
const OWN_LINES_PER_SECOND: u32 = 100;
/// Of all kinds: a client may have each of its messages cause as many as a call may write.
const LINES_PER_SECOND: u32 = 1_000;
/// A line that is longer counts as several: half a megabyte in a second.
const LINE_BYTES: usize = 512;
/// Whoever can have a plugin ask for too much can do so all the time.
const WITHHELD_LINES_PER_SECOND: u32 = 1;

impl Settings {
    /// The surroundings of the plugin `name`.
    #[must_use]
    pub fn new(
        name: String,
        config: BTreeMap<String, ConfigValue>,
        http: EgressConfig,
        metrics: Metrics,
    ) -> Self {
        let meters = Arc::new(PluginMeters::new(&metrics, &name));
        let (egress, grants) = (Egress::new(&name, http), Grants::default());
        let own_lines = LogLimiter::per_second(OWN_LINES_PER_SECOND);
        let lines = LogLimiter::per_second(LINES_PER_SECOND);
        let withheld = LogLimiter::per_second(WITHHELD_LINES_PER_SECOND);
        let (is_limited, refs) = (false, None);
        Self {
            name,
            config,
            metrics,
            meters,
            egress,
            grants,
            is_limited,
            refs,
            own_lines,
            lines,
            withheld,
        }
    }

    /// The same, with these grants rather than all.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { is_limited: grants.are_limited(), grants, ..self }
    }

    /// Whether one more line of its own, about no client's message, is logged.
    pub fn takes_own_line(&self) -> bool {
        let Some(line) = self.own_lines.pass() else { return false };
        if let Some(left_out) = line.left_out() {
            let plugin = self.name.as_str();
            warn!(plugin, left_out, "it logged more than {OWN_LINES_PER_SECOND} lines a second");
        }
        true
    }

    /// Whether one more line of it, of so many bytes, is logged: the log is everybody's.
    pub fn takes_line(&self, bytes: usize) -> bool {
        let lines = u32::try_from(1 + bytes / LINE_BYTES).unwrap_or(u32::MAX);
        let Some(line) = self.lines.pass_for(lines) else { return false };
        if let Some(left_out) = line.left_out() {
            let plugin = self.name.as_str();
            warn!(plugin, left_out, "it logged more than {LINES_PER_SECOND} lines a second");
        }
        true
    }

    /// The same beside a server that listens on these ports itself.
    #[must_use]
    pub fn beside(self, own_ports: OwnPorts) -> Self {
        Self { egress: self.egress.with_own_ports(own_ports), ..self }
    }

    /// The same on a server that seals socket refs with this key.
    #[must_use]
    pub fn with_refs(self, refs: RefKey) -> Self {
        Self { refs: Some(refs), ..self }
    }

    /// Whether the plugin may do something; it is counted when it may not.
    pub fn check(&self, need: &Need) -> Result<(), Denied> {
        self.grants.check(&self.name, need).inspect_err(|denied| self.count(denied))
    }

    /// Whether one more line about what is withheld from it is logged.
    pub fn takes_withheld_line(&self) -> Option<Passed> {
        self.withheld.pass()
    }

    /// What the plugin is given for a socket ref.
    pub fn sealed(&self, socket_ref: &SocketRef) -> Option<String> {
        Some(self.refs.as_ref()?.seal(socket_ref, &self.name))
    }

    /// Whom a text reaches that the plugin hands in as a socket ref; `None` when they are
    /// gone. It is denied when it is none, or was given to another plugin and there is no
    /// grant: as plugins may have it from clients, that is no fault.
    pub fn unsealed(&self, text: &str) -> Result<Option<SocketRef>, Denied> {
        let unsealed = match &self.refs {
            Some(refs) => refs.unseal(text),
            None => Err(NotARef::Forged),
        };
        match unsealed {
            Ok(Unsealed { socket_ref, plugin }) if plugin == self.name => Ok(Some(socket_ref)),
            Ok(Unsealed { socket_ref, plugin }) => {
                self.check(&Need::Reply(plugin)).map(|()| Some(socket_ref))
            }
            Err(NotARef::OfAnotherRun) => {
                self.metrics.count(Metric::LateGone, 1);
                Ok(None)
            }
            Err(NotARef::Forged) => {
                let denied = self.grants.forged(&self.name, text);
                self.count(&denied);
                Err(denied)
            }
        }
    }

    fn count(&self, denied: &Denied) {
        self.metrics.count_of(Metric::PluginDenied, &[&self.name, denied.key], 1);
    }
}
