//! Telemetry: the server's logs, and its measurements over StatsD.
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
mod clock;
mod destination;
mod events;
mod handle_cache;
mod limit_log;
mod line;
mod log;
mod meters;
mod metrics;
mod plugin;
mod process;
mod redact;
mod registry;
mod sampler;
mod series;
mod statsd;
mod topics;
mod window;

pub use bucket::{LeakyBucket, TokenBucket};
pub use catalog::{Metric, table as metrics_table};
pub use clock::{Monotonic, Published, unix_ms};
pub use events::EventNames;
pub use limit_log::LimitLog;
pub use line::Dialect;
pub use log::{LogFormat, LogGuard, init as init_log};
pub use log::{LogLimiter, Passed, dropped_lines, write_line};
pub use meters::{ChannelMeters, Origin};
pub use meters::{OutboxMeters, PipelineMeters, WasmMeters};
pub use metrics::Metrics;
pub use metrics::MetricsOptions;
pub use plugin::{CallMeasurements, Measurement, PluginMeters};
pub use process::memory_bytes as resident_bytes;
pub use redact::{Redacted, RedactedPairs};
pub use registry::SeriesKey;
pub use sampler::{Sampler, watch_lag};
pub use series::{Counter, Distribution};
pub use statsd::Target;
pub use topics::TopicRate;
pub use window::{Reading, Window};
