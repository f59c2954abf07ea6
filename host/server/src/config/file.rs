//! The keys of `millrace.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use millrace_session::Limits;
use millrace_telemetry::{Dialect, EventNames, Target};
use millrace_wasm::{Grants, PluginLimits};
use millrace_wire::TopicPattern;
use serde::Deserialize;

use super::listen::ListenList;
use super::{
    AdminConfig, CacheConfig, CheckOrigin, CompileConfig, DrainConfig, EgressConfig, HostName,
    PipelineConfig, ServerConfig, SwapConfig, TlsConfig, TrustConfig, defaults,
};
use crate::outbox::{Overflow, OverflowPolicies};
use crate::secret::Secret;

/// The whole file. Unknown keys are refused everywhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) listen: ListenList,
    pub(super) server: ServerConfig,
    pub(super) tls: Option<TlsConfig>,
    pub(super) cache: CacheConfig,
    pub(super) socket: SocketConfig,
    pub(super) limits: PluginLimits,
    pub(super) plugins: BTreeMap<String, PluginConfig>,
    #[serde(rename = "static")]
    pub(super) static_files: StaticConfig,
    pub(super) statsd: Option<StatsdConfig>,
    pub(super) metrics: MetricsConfig,
    pub(super) dashboard: DashboardConfig,
    pub(super) drain: DrainConfig,
    pub(super) memory: MemoryConfig,
    pub(super) pipelines: BTreeMap<String, PipelineConfig>,
    pub(super) swap: SwapConfig,
    pub(super) compile: CompileConfig,
    pub(super) trust: TrustConfig,
    pub(super) admin: Option<AdminConfig>,
}

/// `[socket]`: one WebSocket connection and its channels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketConfig {
    /// Where sockets are mounted; the WebSocket is at `PATH/websocket`.
    pub path: String,
    /// Which pages may connect.
    pub check_origin: CheckOrigin,
    /// The names under which clients reach the server, by way of a proxy for example. Pages
    /// of them may connect with `check_origin = true`, and on loopback they are served
    /// besides this machine's own.
    pub hosts: Vec<HostName>,
    /// Subprotocols that are spoken besides `phoenix`; the first that a client offers is
    /// named in the answer.
    pub subprotocols: Vec<String>,
    /// A connection that sends nothing for so long is closed with 1002.
    pub idle_timeout_ms: u64,
    /// A larger message closes its connection with 1009.
    pub max_frame_bytes: usize,
    /// Topics one connection may have joined; a further join is refused with
    /// `too many channels joined`.
    pub max_channels: usize,
    /// Messages that may wait in one channel; a further one is answered with
    /// the error `overloaded`.
    pub max_pending: usize,
    /// What may wait in a connection, in bytes: messages that came and are not
    /// handled, or only in part; calls and tasks that wait; what the client has not
    /// taken. Above it, its socket is not read.
    pub max_pending_bytes: usize,
    /// A message has to come whole within this time, and a second more for each
    /// 16 KiB of it; otherwise its connection is closed with 1002.
    pub message_timeout_ms: u64,
    /// Topics that all channels of a connection may subscribe to besides their own;
    /// further ones are left out.
    pub max_subscriptions: usize,
    /// What may wait for a client that does not take it; more closes its connection
    /// with 1013. Its own answers only stop the reading of its socket.
    pub outbox_bytes: usize,
    /// A client that takes nothing of what waits for it for so long is closed with
    /// 1013.
    pub stall_timeout_ms: u64,
    /// What a client that is turned away is told to wait (`retry_after_ms` in
    /// the error replies `overloaded`).
    pub retry_after_ms: u64,
    /// Tasks of one connection at the same time; the message that wanted to
    /// start a further one gets the error `overloaded`.
    pub max_tasks: usize,
    /// Calls of one connection that may trap; one is forgiven each second. Above
    /// it, its messages and joins get the error `unavailable`, and no plugin is
    /// called for them.
    pub max_faults: u32,
    /// What happens when `outbox_bytes` wait, by topic; the first pattern that
    /// matches counts, and without one the connection is closed.
    pub outbox_policies: Vec<OutboxPolicy>,
    /// Messages of one client in a second; above it, its socket is not read for
    /// a while. 0 is without bound.
    pub max_messages_per_second: u32,
    /// Their bytes, likewise.
    pub max_bytes_per_second: u64,
    /// Connections of the server; a further one gets 503.
    pub max_connections: usize,
    /// Connections of one address (of IPv6, of one /64); a further one gets 503.
    /// 0 is without bound.
    pub max_connections_per_address: usize,
    /// New connections of the server in a second; further ones get 503 with
    /// `Retry-After`. 0 is without bound.
    pub max_connects_per_second: u32,
    /// Those of one address (of IPv6, of one /64). 0 is without bound; none is half of
    /// `max_connects_per_second`, and without bound for this machine's own clients.
    pub max_connects_per_second_per_address: Option<u32>,
    /// Joins of the server in a second, of which one connection may have a tenth, or
    /// `max_channels` if that is more; further ones get the error `overloaded`.
    /// 0 is without bound.
    pub max_joins_per_second: u32,
    /// A connection that has not sent its first request whole by then is closed.
    pub handshake_timeout_ms: u64,
    /// A connection over HTTP that does not send another request for so long is closed.
    pub keep_alive_timeout_ms: u64,
}

/// `[[socket.outbox_policies]]`: what gives way for a slow client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxPolicy {
    /// A topic, or the beginning of some with a trailing `*`.
    pub topics: String,
    /// What gives way.
    pub policy: Overflow,
}

/// `[memory]`: what the server may have of it.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Of all together. At nine tenths of it new connections get 503; at all of it,
    /// messages of more than 64 KiB close their connection with 1013, and so do
    /// clients that do not read. 0 is four fifths of what the machine or the container
    /// has.
    pub max_bytes: u64,
}

/// `[statsd]`: where measurements go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatsdConfig {
    /// `HOST:PORT`, over UDP, or `unix:PATH` of a datagram socket.
    pub address: String,
    /// What the server there understands.
    pub dialect: Dialect,
    /// What every name begins with.
    pub prefix: String,
    /// The largest datagram: 512 for the internet, 1432 for Ethernet, 8932 for
    /// jumbo frames.
    pub datagram_bytes: usize,
    /// Between two reports.
    pub interval_ms: u64,
}

/// `[metrics]`: what is told apart.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// The events that get a series of their own; without a list, the first
    /// `max_events` of each topic pattern do. Others are counted as `other`.
    pub events: Option<Vec<String>>,
    /// How many there are without a list.
    pub max_events: usize,
}

/// `[dashboard]`: the page at `/dashboard`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// Whether there is one; `millrace dev` has it anyway.
    pub enabled: bool,
    /// What one has to know to look: `/dashboard?token=…`. Without it, everybody
    /// may who reaches the server.
    pub token: Option<Secret>,
}

/// `[plugins.NAME]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PluginConfig {
    /// A Cargo package, relative to the file.
    pub(super) path: Option<PathBuf>,
    /// A `.wasm` file, relative to the file.
    pub(super) component: Option<PathBuf>,
    /// What the plugin gets from `config.get`.
    pub(super) config: BTreeMap<String, toml::Value>,
    /// The SHA-256 sums of the components it may be.
    pub(super) sha256: Vec<String>,
    /// What differs from `[limits]`.
    pub(super) limits: toml::Table,
    /// Which requests it may make.
    pub(super) http: EgressConfig,
    /// What else it may do.
    pub(super) grants: Grants,
}

/// `[static]`: the app's page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StaticConfig {
    /// Served at `/`.
    pub(super) dir: Option<PathBuf>,
    /// Single files by their URL path.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// More headers of each answer.
    pub(super) headers: BTreeMap<String, String>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            listen: ListenList(vec![defaults::LISTEN.into()]),
            server: ServerConfig::default(),
            tls: None,
            cache: CacheConfig::default(),
            socket: SocketConfig::default(),
            limits: PluginLimits::default(),
            plugins: BTreeMap::new(),
            static_files: StaticConfig::default(),
            statsd: None,
            metrics: MetricsConfig::default(),
            dashboard: DashboardConfig::default(),
            drain: DrainConfig::default(),
            memory: MemoryConfig::default(),
            pipelines: BTreeMap::new(),
            swap: SwapConfig::default(),
            compile: CompileConfig::default(),
            trust: TrustConfig::default(),
            admin: None,
        }
    }
}

impl Default for StatsdConfig {
    fn default() -> Self {
        Self {
            address: defaults::STATSD_ADDRESS.to_owned(),
            dialect: Dialect::default(),
            prefix: defaults::STATSD_PREFIX.to_owned(),
            datagram_bytes: defaults::STATSD_DATAGRAM_BYTES,
            interval_ms: defaults::STATSD_INTERVAL_MS,
        }
    }
}

impl StatsdConfig {
    pub(crate) fn target(&self) -> Target {
        let Self { address, dialect, prefix, datagram_bytes, interval_ms } = self.clone();
        let interval = Duration::from_millis(interval_ms);
        Target { address, dialect, prefix, datagram_bytes, interval }
    }
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { events: None, max_events: defaults::MAX_EVENTS }
    }
}

impl MetricsConfig {
    pub(crate) fn event_names(&self) -> EventNames {
        match &self.events {
            Some(events) => EventNames::Listed(events.clone()),
            None => EventNames::First(self.max_events),
        }
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            path: defaults::SOCKET_PATH.to_owned(),
            check_origin: CheckOrigin::SameHost,
            hosts: Vec::new(),
            subprotocols: Vec::new(),
            idle_timeout_ms: defaults::IDLE_TIMEOUT_MS,
            max_frame_bytes: defaults::MAX_FRAME_BYTES,
            max_channels: defaults::MAX_CHANNELS,
            max_pending: defaults::MAX_PENDING,
            retry_after_ms: defaults::RETRY_AFTER_MS,
            max_tasks: defaults::MAX_TASKS_PER_CONNECTION,
            max_faults: defaults::MAX_FAULTS,
            max_pending_bytes: defaults::MAX_PENDING_BYTES,
            message_timeout_ms: defaults::MESSAGE_TIMEOUT_MS,
            max_subscriptions: defaults::MAX_SUBSCRIPTIONS,
            outbox_bytes: defaults::OUTBOX_BYTES,
            stall_timeout_ms: defaults::STALL_TIMEOUT_MS,
            outbox_policies: Vec::new(),
            max_messages_per_second: defaults::MAX_MESSAGES_PER_SECOND,
            max_bytes_per_second: defaults::MAX_BYTES_PER_SECOND,
            max_connections: defaults::MAX_CONNECTIONS,
            max_connections_per_address: defaults::MAX_CONNECTIONS_PER_ADDRESS,
            max_connects_per_second: defaults::MAX_CONNECTS_PER_SECOND,
            max_connects_per_second_per_address: defaults::MAX_CONNECTS_PER_SECOND_PER_ADDRESS,
            max_joins_per_second: defaults::MAX_JOINS_PER_SECOND,
            handshake_timeout_ms: defaults::HANDSHAKE_TIMEOUT_MS,
            keep_alive_timeout_ms: defaults::KEEP_ALIVE_TIMEOUT_MS,
        }
    }
}

impl SocketConfig {
    /// What gives way for slow clients, by topic.
    #[must_use]
    pub fn overflow_policies(&self) -> OverflowPolicies {
        // What is no pattern was refused when the file was read.
        let policies = self.outbox_policies.iter().filter_map(|policy| {
            let pattern = TopicPattern::parse(&policy.topics).ok()?;
            Some((pattern, policy.policy))
        });
        OverflowPolicies::new(policies.collect())
    }

    /// The bounds of one session.
    #[must_use]
    pub fn session_limits(&self) -> Limits {
        let Self { max_channels, max_pending, max_pending_bytes, .. } = *self;
        let Self { max_subscriptions, retry_after_ms, .. } = *self;
        Limits { max_channels, max_pending, max_pending_bytes, max_subscriptions, retry_after_ms }
    }
}
