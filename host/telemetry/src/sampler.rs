//! What is looked at from time to time, as it is not counted as it happens.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::catalog::Metric;
use super::metrics::Metrics;
use super::process::{self, Process};

/// Looks at the process, and at how late timers run.
#[derive(Debug)]
pub struct Sampler {
    metrics: Metrics,
    process: Process,
    /// How many pauses there were.
    pauses: u32,
}

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Between two timers that are looked at; timers have milliseconds.
const TICK: Duration = Duration::from_millis(50);
/// How many pauses until series of versions that have gone are removed.
const SWEEP_EVERY: u32 = 60;

/// Looks at how late timers run on one more thread, until it is dropped; ends at once
/// when nobody wants to know.
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
    /// A sampler that has not looked yet.
    pub fn new(metrics: Metrics) -> Self {
        let sampler = Self { metrics, process: Process::new(), pauses: 0 };
        sampler.look_at_memory();
        sampler
    }

    /// Returns when it is time to look again, and has looked itself.
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
