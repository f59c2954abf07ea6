//! What the server tells about itself: logs, and measurements over StatsD.
//!
//! ```text
//! threads ──add──▶ series (in registry, a cell for each thread) ──sum──▶ statsd ──lines──▶ server
//! ```

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

mod bucket;
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

pub use bucket::{Bucket, Leaky};
pub use catalog::{Metric, table as metrics_table};
pub use events::EventNames;
pub use line::Dialect;
pub use log::{LogFormat, LogGuard, init as init_log};
pub use log::{Passed, Seldom, dropped_lines, tell};
pub use meters::{ChannelMeters, Origin};
pub use meters::{OutboxMeters, PipelineMeters, WasmMeters};
pub use metrics::Metrics;
pub use metrics::Wanted;
pub use plugin::{CallMeasurements, Measurement, PluginMeters};
pub use process::memory_bytes as resident_bytes;
pub use reached::Reached;
pub use redact::{Redacted, RedactedPairs};
pub use registry::Key;
pub use sampler::{Sampler, watch_lag};
pub use series::{Counter, Distribution};
pub use stamp::{Published, Stamp, wall_ms};
pub use statsd::Target;
pub use topics::TopicRate;
pub use window::{Reading, Window};
