//! The keys of `millrace.toml`, as serde reads them.

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
    AdminConfig, AuthConfig, CacheConfig, CheckOrigin, CompileConfig, DrainConfig, EgressConfig,
    HostName, LongPollConfig, PipelineConfig, PresenceConfig, ServerConfig, SwapConfig, TlsConfig,
    TrustConfig, defaults,
};
use crate::outbox::{Overflow, OverflowPolicies};
use crate::secret::Secret;

/// The whole file. Unknown keys are refused in all sections.
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
    pub(super) longpoll: LongPollConfig,
    pub(super) presence: PresenceConfig,
    pub(super) memory: MemoryConfig,
    pub(super) pipelines: BTreeMap<String, PipelineConfig>,
    pub(super) swap: SwapConfig,
    pub(super) compile: CompileConfig,
    pub(super) trust: TrustConfig,
    pub(super) admin: Option<AdminConfig>,
    pub(super) auth: Option<AuthConfig>,
}

/// `[socket]`: one connection of a client and its channels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketConfig {
    /// The path at which sockets are mounted; the WebSocket is at `PATH/websocket`.
    pub path: String,
    /// The pages that may connect.
    pub check_origin: CheckOrigin,
    /// The hosts under which clients reach the server, for example through a proxy. With
    /// `check_origin = true` their pages may connect. On loopback, requests for them are served,
    /// besides those for this machine's own names.
    pub hosts: Vec<HostName>,
    /// The subprotocols that are spoken besides `phoenix`; the answer has the first one that a
    /// client offers.
    pub subprotocols: Vec<String>,
    /// The time in milliseconds after which a connection that sends nothing is closed with 1002.
    pub idle_timeout_ms: u64,
    /// The largest message in bytes; a larger one closes its connection with 1009.
    pub max_frame_bytes: usize,
    /// The most topics that one connection may have joined; a further join is refused with `too
    /// many channels joined`.
    pub max_channels: usize,
    /// The most messages that may wait in one channel; a further one is answered with the error
    /// `overloaded`.
    pub max_pending: usize,
    /// The most bytes that may wait in a connection: messages that are not handled or not received
    /// completely, calls and tasks that wait, and data that the client has not read. Above it, its
    /// socket is not read.
    pub max_pending_bytes: usize,
    /// The time in milliseconds within which a message must be received completely, plus a second
    /// for each 16 KiB of it; otherwise its connection is closed with 1002.
    pub message_timeout_ms: u64,
    /// The most topics that all channels of a connection may subscribe to besides their own;
    /// further subscriptions are left out.
    pub max_subscriptions: usize,
    /// The most bytes that may wait for a client to read them; more closes its connection with
    /// 1013. Answers to its own messages do not count: for them, its socket is only not read.
    pub outbox_bytes: usize,
    /// The time in milliseconds after which a client that reads nothing of what waits for it is
    /// closed with 1013.
    pub stall_timeout_ms: u64,
    /// The time in milliseconds that a refused client is asked to wait (`retry_after_ms` in the
    /// error replies `overloaded`).
    pub retry_after_ms: u64,
    /// The most tasks of one connection at the same time; the message that would start a further
    /// one gets the error `overloaded`.
    pub max_tasks: usize,
    /// The most calls of one connection that may trap, of which one is forgiven each second. Above
    /// it, its messages and joins get the error `unavailable`, and no plugin is called for them.
    pub max_faults: u32,
    /// What happens at `outbox_bytes`, by topic. The first pattern that matches counts; without one
    /// the connection is closed.
    pub outbox_policies: Vec<OutboxPolicy>,
    /// The most messages of one client per second; above it, its socket is not read for a while. 0
    /// means no limit.
    pub max_messages_per_second: u32,
    /// The most bytes of one client's messages per second, with the same effect.
    pub max_bytes_per_second: u64,
    /// The most connections of the server; a further one gets 503.
    pub max_connections: usize,
    /// The most connections of one address (of IPv6, of one /64); a further one gets 503. 0 means
    /// no limit.
    pub max_connections_per_address: usize,
    /// The most new connections of the server per second; further ones get 503 with `Retry-After`.
    /// 0 means no limit.
    pub max_connects_per_second: u32,
    /// The most new connections of one address (of IPv6, of one /64) per second; further ones get
    /// 503. 0 means no limit. Without a value it is half of `max_connects_per_second`, and this
    /// machine's own clients have no limit.
    pub max_connects_per_second_per_address: Option<u32>,
    /// The most joins of the server per second, of which one connection may have a tenth, or
    /// `max_channels` if that is more; further ones get the error `overloaded`. 0 means no limit.
    pub max_joins_per_second: u32,
    /// The time in milliseconds within which a connection must send its first request completely;
    /// otherwise it is closed.
    pub handshake_timeout_ms: u64,
    /// The time in milliseconds after which an HTTP connection that sends no further request is
    /// closed.
    pub keep_alive_timeout_ms: u64,
    /// `[longpoll]`, which is a section of its own in the file.
    #[serde(skip)]
    pub longpoll: LongPollConfig,
}

/// `[[socket.outbox_policies]]`: the overflow policy of some topics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxPolicy {
    /// A topic, or a prefix of topics with a `*` at its end.
    pub topics: String,
    /// What happens to their messages when the outbox is full.
    pub policy: Overflow,
}

/// `[memory]`: the memory that the server may use.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// The limit in bytes for the whole process. At nine tenths of it new connections get 503. At
    /// the limit, messages of more than 64 KiB close their connection with 1013, and so do clients
    /// that do not read. 0 means four fifths of what the machine or the container has.
    pub max_bytes: u64,
}

/// `[statsd]`: the receiver of measurements.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatsdConfig {
    /// The address: `HOST:PORT`, over UDP, or `unix:PATH` of a datagram socket.
    pub address: String,
    /// The dialect that the receiving server understands.
    pub dialect: Dialect,
    /// The prefix of all names.
    pub prefix: String,
    /// The largest datagram in bytes: 512 for the internet, 1432 for Ethernet, 8932 for jumbo
    /// frames.
    pub datagram_bytes: usize,
    /// The time between two reports in milliseconds.
    pub interval_ms: u64,
}

/// `[metrics]`: the events that are measured separately.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// The events that get a series of their own. Without a list, the first `max_events` of each
    /// topic pattern do. All others are counted as `other`.
    pub events: Option<Vec<String>>,
    /// The most events of each topic pattern that get a series of their own without a list.
    pub max_events: usize,
}

/// `[dashboard]`: the page at `/dashboard`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DashboardConfig {
    /// Whether the page is served; `millrace dev` always serves it.
    pub enabled: bool,
    /// The secret that opens the page: `/dashboard?token=…`. Without it, everybody who reaches the
    /// server may see the page.
    pub token: Option<Secret>,
}

/// `[plugins.NAME]`: one plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PluginConfig {
    /// The folder of its Cargo package, relative to the file.
    pub(super) path: Option<PathBuf>,
    /// Its `.wasm` file, relative to the file.
    pub(super) component: Option<PathBuf>,
    /// The values that it reads with `config.get`.
    pub(super) config: BTreeMap<String, toml::Value>,
    /// The SHA-256 sums of the components that are accepted; without any, all are.
    pub(super) sha256: Vec<String>,
    /// The keys of `[limits]` that differ for this plugin.
    pub(super) limits: toml::Table,
    /// The requests it may make to other servers.
    pub(super) http: EgressConfig,
    /// Its other permissions.
    pub(super) grants: Grants,
}

/// `[static]`: the app's page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StaticConfig {
    /// The folder that is served at `/`.
    pub(super) dir: Option<PathBuf>,
    /// Single files by their URL paths.
    pub(super) files: BTreeMap<String, PathBuf>,
    /// Additional headers of each response.
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
            longpoll: LongPollConfig::default(),
            presence: PresenceConfig::default(),
            memory: MemoryConfig::default(),
            pipelines: BTreeMap::new(),
            swap: SwapConfig::default(),
            compile: CompileConfig::default(),
            trust: TrustConfig::default(),
            admin: None,
            auth: None,
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
            longpoll: LongPollConfig::default(),
        }
    }
}

impl SocketConfig {
    /// The overflow policies of slow clients' outboxes, by topic.
    #[must_use]
    pub fn overflow_policies(&self) -> OverflowPolicies {
        // An invalid pattern was refused when the file was read.
        let policies = self.outbox_policies.iter().filter_map(|policy| {
            let pattern = TopicPattern::parse(&policy.topics).ok()?;
            Some((pattern, policy.policy))
        });
        OverflowPolicies::new(policies.collect())
    }

    /// The limits of one session.
    #[must_use]
    pub fn session_limits(&self) -> Limits {
        let Self { max_channels, max_pending, max_pending_bytes, .. } = *self;
        let Self { max_subscriptions, retry_after_ms, .. } = *self;
        Limits { max_channels, max_pending, max_pending_bytes, max_subscriptions, retry_after_ms }
    }
}
