//! What the server tells about itself: logs, and measurements over StatsD.
//!
//! ```text
//! threads ──add──▶ series (in registry, a cell for each thread) ──sum──▶ statsd ──lines──▶ server
//! ```

mod catalog;
mod destination;
mod events;
mod line;
mod log;
mod memo;
mod meters;
mod metrics;
mod plugin;
mod process;
mod reached;
mod redact;
mod registry;
mod sampler;
mod series;
mod stamp;
mod statsd;
mod topics;
mod window;

pub use catalog::{Metric, table as metrics_table};
pub(crate) use events::EventNames;
pub use line::Dialect;
pub use log::{LogFormat, LogGuard, init as init_log};
pub(crate) use log::{Passed, Seldom, dropped_lines, tell};
pub use meters::{ChannelMeters, Origin};
pub(crate) use meters::{OutboxMeters, PipelineMeters, WasmMeters};
pub use metrics::Metrics;
pub(crate) use metrics::Wanted;
pub(crate) use plugin::{CallMeasurements, Measurement, PluginMeters};
pub(crate) use process::memory_bytes as resident_bytes;
pub(crate) use reached::Reached;
pub(crate) use redact::{Redacted, RedactedPairs};
pub(crate) use registry::Key;
pub(crate) use sampler::{Sampler, watch_lag};
pub(crate) use series::{Counter, Distribution};
pub(crate) use stamp::{Published, Stamp, wall_ms};
pub(crate) use statsd::Target;
pub(crate) use topics::TopicRate;
pub(crate) use window::{Reading, Window};
