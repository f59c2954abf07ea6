//! The configuration: `millrace.toml`, the environment, the defaults, and where the parts of an app
//! are.

mod admin;
mod app;
mod app_plugin;
mod app_secrets;
mod bounds;
mod check;
mod compile;
mod defaults;
mod drain;
mod environment;
mod file;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
mod host;
mod listen;
mod nearest;
mod origin;
mod pipeline;
mod server;
mod static_files;
mod swap;
mod timer;
mod wording;

#[cfg(test)]
mod page_tests;

pub use crate::secret::Secret;
pub use admin::AdminConfig;
pub(crate) use app::CONFIG_FILE;
pub use app::{App, ConfigError};
pub use app_plugin::AppPlugin;
pub use compile::CompileConfig;
pub use drain::DrainConfig;
pub(crate) use environment::Environment;
pub use file::{
    DashboardConfig, MemoryConfig, MetricsConfig, OutboxPolicy, SocketConfig, StatsdConfig,
};
pub use host::HostName;
pub(crate) use host::{host_of, is_loopback_name};
pub use listen::{ListenAddress, ListenConfig};
pub use millrace_wasm::CacheConfig;
pub use millrace_wasm::egress::{EgressConfig, HostPattern, Network};
pub use origin::{CheckOrigin, OriginPattern};
pub(crate) use pipeline::dispatcher;
pub use pipeline::{
    Backpressure, BufferConfig, DeadLettersConfig, IngestConfig, Keep, PipelineConfig, RetryConfig,
    WorkerConfig,
};
pub use server::{ServerConfig, TlsConfig};
pub use static_files::StaticFiles;
pub use swap::{SwapConfig, TrustConfig};
pub use timer::TimerConfig;
