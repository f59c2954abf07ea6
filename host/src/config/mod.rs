//! What an operator decides: `millrace.toml`, its defaults, and where an app's
//! parts are.

mod app;
mod defaults;
mod file;
mod origin;

pub use crate::egress::{EgressConfig, HostPattern, Network};
pub use app::{App, AppPlugin, ConfigError, StaticFiles};
pub use file::{
    DashboardConfig, DrainConfig, MetricsConfig, OutboxPolicy, SocketConfig, StatsdConfig,
};
pub use origin::{CheckOrigin, OriginPattern};
