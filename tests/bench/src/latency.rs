//! Latencies, and their quantiles.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

/// Latencies in microseconds, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

/// The largest latency, in microseconds; anything slower is counted as this. Without a limit, a
/// saturated histogram would take slow for fast.
const MAX_MICROS: u64 = 600_000_000;

impl Latencies {
    /// Makes an empty histogram.
    pub fn new() -> Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, MAX_MICROS, 3)?))
    }

    /// Adds a latency.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all latencies of others.
    pub fn add(&mut self, others: &Self) -> Result<()> {
        Ok(self.0.add(&others.0)?)
    }

    /// The number of latencies.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantile of the latencies, in microseconds: `quantile` is between 0 and 1.
    #[must_use]
    pub fn at(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64
    }

    /// The figures of the table.
    #[must_use]
    pub fn figures(&self) -> [(&'static str, f64); 3] {
        [
            ("latency p50, µs", self.at(0.5)),
            ("latency p99, µs", self.at(0.99)),
            ("latency max, µs", self.0.max() as f64),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_count_as_slow() {
        let mut latencies = Latencies::new().unwrap();
        for millis in [1, 3, 3000] {
            latencies.record(Duration::from_millis(millis));
        }
        for (quantile, micros) in [(0.5, 3e3), (1.0, 3e6)] {
            let found = latencies.at(quantile);
            assert!((found / micros - 1.0).abs() < 0.01, "{found} instead of {micros}");
        }
        latencies.record(Duration::from_secs(1_000_000));
        assert!((latencies.at(1.0) / 6e8 - 1.0).abs() < 0.01);
    }
}
