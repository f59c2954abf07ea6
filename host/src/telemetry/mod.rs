//! What the server tells about itself: logs, and measurements over StatsD.
//!
//! ```text
//! threads ──add──▶ series (in registry, a cell for each thread) ──sum──▶ statsd ──lines──▶ server
//! ```

mod catalog;
mod line;
mod log;
mod metrics;
mod registry;
mod series;
mod statsd;

pub use catalog::Count;
pub use line::Dialect;
pub use log::{LogFormat, init as init_log};
pub use metrics::{Measurement, Metrics};
pub(crate) use statsd::Target;
