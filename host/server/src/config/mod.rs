//! The configuration: `millrace.toml`, the environment, the defaults, and where the parts of an app
//! are.

mod admin;
mod app;
mod app_plugin;
mod app_secrets;
mod auth;
mod auth_keys;
mod bounds;
mod check;
mod compile;
mod defaults;
mod drain;
mod environment;
mod file;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub(crate) mod fuzz;
mod host;
mod listen;
mod longpoll;
mod nearest;
mod origin;
mod pipeline;
mod presence;
mod server;
mod static_files;
mod swap;
mod timer;
mod wording;

#[cfg(test)]
mod page_tests;

pub(crate) use crate::secret::Secret;
pub(crate) use admin::AdminConfig;
pub(crate) use app::CONFIG_FILE;
pub use app::{App, ConfigError};
pub(crate) use app_plugin::AppPlugin;
pub(crate) use auth::{AuthConfig, JwksConfig, JwtKeyConfig};
pub(crate) use auth_keys::AuthKeys;
pub(crate) use compile::CompileConfig;
pub(crate) use drain::DrainConfig;
pub(crate) use environment::Environment;
pub(crate) use file::{DashboardConfig, MemoryConfig, MetricsConfig, SocketConfig, StatsdConfig};
pub(crate) use host::HostName;
pub(crate) use host::{host_of, is_loopback_name};
pub(crate) use listen::{ListenAddress, ListenConfig};
pub(crate) use longpoll::LongPollConfig;
pub(crate) use millrace_wasm::CacheConfig;
pub(crate) use millrace_wasm::egress::{EgressConfig, Network};
pub(crate) use origin::{CheckOrigin, OriginPattern};
pub(crate) use pipeline::dispatcher;
pub(crate) use pipeline::{IngestConfig, PipelineConfig};
pub(crate) use presence::PresenceConfig;
pub(crate) use server::{ServerConfig, TlsConfig};
pub(crate) use static_files::StaticFiles;
pub(crate) use swap::{SwapConfig, TrustConfig};
pub(crate) use timer::TimerConfig;
