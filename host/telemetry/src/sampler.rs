//! Measurements that are taken from time to time, because nothing happens that could be counted.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::catalog::Metric;
use super::metrics::Metrics;
use super::process::{self, Process};

/// Measures the process, and how late timers run.
#[derive(Debug)]
pub struct Sampler {
    metrics: Metrics,
    process: Process,
    /// The number of pauses since the start.
    pauses: u32,
}

/// The time between two measurements of the process.
const EVERY: Duration = Duration::from_secs(1);
/// The time between two timers whose delay is measured; timers have a resolution of milliseconds.
const TICK: Duration = Duration::from_millis(50);
/// The number of pauses after which the series of plugin versions that are gone are removed.
const SWEEP_EVERY: u32 = 60;

/// Measures how late timers run on the thread that calls it, until it is dropped. It ends at once
/// when nobody wants measurements.
pub async fn watch_lag(metrics: Metrics) {
    while metrics.is_on() {
        tick(&metrics).await;
    }
}

async fn tick(metrics: &Metrics) {
    let due = Instant::now() + TICK;
    sleep_until(due).await;
    metrics.time(Metric::ProcessLag, due.elapsed());
}

impl Sampler {
    /// A sampler, which measures the memory at once.
    pub fn new(metrics: Metrics) -> Self {
        let sampler = Self { metrics, process: Process::new(), pauses: 0 };
        sampler.look_at_memory();
        sampler
    }

    /// Waits until it is time to measure again, and measures.
    pub async fn pause(&mut self) {
        let until = Instant::now() + EVERY;
        while Instant::now() < until {
            tick(&self.metrics).await;
        }
        self.metrics.set(Metric::ProcessCpu, self.process.cpu_percent());
        self.look_at_memory();
        self.pauses += 1;
        if self.pauses.is_multiple_of(SWEEP_EVERY) {
            self.metrics.registry().sweep();
        }
    }

    fn look_at_memory(&self) {
        #[expect(clippy::cast_precision_loss, reason = "bytes need no 53 bits")]
        self.metrics.set(Metric::ProcessMemory, process::memory_bytes() as f64);
    }
}
