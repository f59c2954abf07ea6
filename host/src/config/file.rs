//! The keys of `millrace.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::{CheckOrigin, defaults};
use crate::session::Limits;
use crate::wasm::{OnFaults, PluginLimits};

/// The whole file. Unknown keys are refused everywhere.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ConfigFile {
    pub(super) listen: SocketAddr,
    pub(super) socket: SocketConfig,
    pub(super) limits: PluginLimits,
    pub(super) plugins: BTreeMap<String, PluginConfig>,
    #[serde(rename = "static")]
    pub(super) static_files: StaticConfig,
    pub(super) statsd: Option<StatsdConfig>,
}

/// `[socket]`: one WebSocket connection and its channels.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SocketConfig {
    /// Where sockets are mounted; the WebSocket is at `PATH/websocket`.
    pub path: String,
    /// Which pages may connect.
    pub check_origin: CheckOrigin,
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
    /// What may wait for a client that reads slowly; more closes its connection
    /// with 1013.
    pub outbox_bytes: usize,
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
    /// Connections of the server; a further one is closed at once.
    pub max_connections: usize,
    /// A connection that has not sent a whole request by then is closed.
    pub handshake_timeout_ms: u64,
}

/// `[statsd]`: where measurements go.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsdConfig {
    /// `HOST:PORT`, over UDP.
    pub address: String,
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
    /// What differs from `[limits]`.
    pub(super) limits: toml::Table,
}

/// `[static]`: the app's page.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StaticConfig {
    /// Served at `/`.
    pub(super) dir: Option<PathBuf>,
    /// Single files by their URL path.
    pub(super) files: BTreeMap<String, PathBuf>,
}

impl Default for ConfigFile {
    fn default() -> Self {
        Self {
            listen: defaults::LISTEN,
            socket: SocketConfig::default(),
            limits: PluginLimits::default(),
            plugins: BTreeMap::new(),
            static_files: StaticConfig::default(),
            statsd: None,
        }
    }
}

impl Default for SocketConfig {
    fn default() -> Self {
        Self {
            path: defaults::SOCKET_PATH.to_owned(),
            check_origin: CheckOrigin::SameHost,
            idle_timeout_ms: defaults::IDLE_TIMEOUT_MS,
            max_frame_bytes: defaults::MAX_FRAME_BYTES,
            max_channels: defaults::MAX_CHANNELS,
            max_pending: defaults::MAX_PENDING,
            retry_after_ms: defaults::RETRY_AFTER_MS,
            max_tasks: defaults::MAX_TASKS_PER_CONNECTION,
            max_faults: defaults::MAX_FAULTS,
            outbox_bytes: defaults::OUTBOX_BYTES,
            max_connections: defaults::MAX_CONNECTIONS,
            handshake_timeout_ms: defaults::HANDSHAKE_TIMEOUT_MS,
        }
    }
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            fuel: defaults::FUEL,
            fuel_per_byte: defaults::FUEL_PER_BYTE,
            max_memory_bytes: defaults::MAX_MEMORY_BYTES,
            max_assigns_bytes: defaults::MAX_ASSIGNS_BYTES,
            max_effects: defaults::MAX_EFFECTS,
            max_effect_bytes: defaults::MAX_EFFECT_BYTES,
            max_instances: defaults::MAX_INSTANCES,
            max_concurrency: defaults::MAX_CONCURRENCY,
            join_timeout_ms: defaults::JOIN_TIMEOUT_MS,
            call_timeout_ms: defaults::CALL_TIMEOUT_MS,
            task_timeout_ms: defaults::TASK_TIMEOUT_MS,
            max_tasks: defaults::MAX_TASKS,
            on_faults: OnFaults::default(),
        }
    }
}

impl SocketConfig {
    /// The bounds of one session.
    #[must_use]
    pub fn session_limits(&self) -> Limits {
        let Self { max_channels, max_pending, retry_after_ms, .. } = *self;
        Limits { max_channels, max_pending, retry_after_ms }
    }
}
