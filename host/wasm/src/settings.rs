//! The settings of a plugin: its configuration, grants, meters and limits of log lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use millrace_session::channel::{NotARef, RefKey, SocketRef, Unsealed};
use millrace_telemetry::{LogLimiter, Metric, Metrics, Passed, PluginMeters};
use tracing::warn;

use super::grants::{Denied, Grants, Need};
use super::presence::PresenceSource;
use crate::egress::{Egress, EgressConfig, OwnPorts};

/// A value of a plugin's `config` table; it may be replaced while instances run.
pub type ConfigValue = Arc<ArcSwap<String>>;

/// The settings that all instances of a plugin share.
#[derive(Debug)]
pub struct Settings {
    /// The name of the plugin in `millrace.toml`.
    pub name: String,
    /// Its `config` table: strings as they are, other values as TOML text.
    pub config: BTreeMap<String, ConfigValue>,
    /// The metrics of the server.
    pub metrics: Metrics,
    /// The meters of what the plugin measures itself.
    pub meters: Arc<PluginMeters>,
    /// The client for its requests to other servers.
    pub egress: Egress,
    /// The grants of the plugin.
    pub grants: Grants,
    /// The way to who is present.
    pub presences: PresenceSource,
    /// Whether the configuration withholds a grant that plugins have by default.
    pub is_limited: bool,
    /// The key that seals socket refs; without it the plugin is given none.
    refs: Option<RefKey>,
    /// The limit of its log lines that are for no message of a client: for events, above all.
    own_lines: LogLimiter,
    /// The limit of all its log lines.
    lines: LogLimiter,
    /// The limit of the log lines about effects that are withheld from it.
    withheld: LogLimiter,
}

/// Log lines a second that are for no message of a client: enough to see what is wrong, while one
/// request may bring ten thousand events that fail.
const OWN_LINES_PER_SECOND: u32 = 100;
/// Log lines a second of all kinds: a client may have each of its messages cause as many as a call
/// may log.
const LINES_PER_SECOND: u32 = 1_000;
/// The bytes of a line that count as one; a longer line counts as several. That is half a megabyte
/// in a second.
const LINE_BYTES: usize = 512;
/// Log lines a second about withheld effects: few, as a client can make a plugin ask for too much
/// all the time.
const WITHHELD_LINES_PER_SECOND: u32 = 1;

impl Settings {
    /// The settings of the plugin `name`, which is granted everything by default.
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
        let (is_limited, refs, presences) = (false, None, PresenceSource::default());
        Self {
            name,
            config,
            metrics,
            meters,
            egress,
            grants,
            presences,
            is_limited,
            refs,
            own_lines,
            lines,
            withheld,
        }
    }

    /// These settings, with other grants.
    #[must_use]
    pub fn with_grants(self, grants: Grants) -> Self {
        Self { is_limited: grants.are_limited(), grants, ..self }
    }

    /// Whether one more line that is for no message of a client is logged.
    pub fn takes_own_line(&self) -> bool {
        let Some(line) = self.own_lines.pass() else { return false };
        if let Some(left_out) = line.left_out() {
            let plugin = self.name.as_str();
            warn!(plugin, left_out, "it logged more than {OWN_LINES_PER_SECOND} lines a second");
        }
        true
    }

    /// Whether one more line of so many bytes is logged. The log is shared by all plugins.
    pub fn takes_line(&self, bytes: usize) -> bool {
        let lines = u32::try_from(1 + bytes / LINE_BYTES).unwrap_or(u32::MAX);
        let Some(line) = self.lines.pass_for(lines) else { return false };
        if let Some(left_out) = line.left_out() {
            let plugin = self.name.as_str();
            warn!(plugin, left_out, "it logged more than {LINES_PER_SECOND} lines a second");
        }
        true
    }

    /// These settings, for a server that listens on these ports itself.
    #[must_use]
    pub fn beside(self, own_ports: OwnPorts) -> Self {
        Self { egress: self.egress.with_own_ports(own_ports), ..self }
    }

    /// These settings, for a server that seals socket refs with this key.
    #[must_use]
    pub fn with_refs(self, refs: RefKey) -> Self {
        Self { refs: Some(refs), ..self }
    }

    /// These settings, for a server that knows who is present.
    #[must_use]
    pub fn with_presences(self, presences: PresenceSource) -> Self {
        Self { presences, ..self }
    }

    /// Checks whether the plugin may do something; a denial is counted.
    ///
    /// # Errors
    ///
    /// The denial, with what is granted.
    pub fn check(&self, need: &Need) -> Result<(), Denied> {
        self.grants.check(&self.name, need).inspect_err(|denied| self.count(denied))
    }

    /// Whether one more line about effects that are withheld from it is logged.
    pub fn takes_withheld_line(&self) -> Option<Passed> {
        self.withheld.pass()
    }

    /// The sealed text of a socket ref for this plugin, which others may use with a grant only;
    /// `None` without a key.
    pub fn sealed(&self, socket_ref: &SocketRef) -> Option<String> {
        Some(self.refs.as_ref()?.seal(socket_ref, &self.name))
    }

    /// The socket ref in a text that the plugin has handed in; `None` if it is of an earlier run of
    /// the server, so its client is gone.
    ///
    /// # Errors
    ///
    /// The text is no socket ref of this server, or was given to another plugin and there is no
    /// grant. That is no fault, as plugins may have the text from clients.
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
