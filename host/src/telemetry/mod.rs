//! What the server tells about itself: logs, and measurements over StatsD.

mod log;
mod metrics;

pub use log::{LogFormat, init as init_log};
pub use metrics::{Measurement, Metrics};
