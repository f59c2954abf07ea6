//! What the server and its plugins count and measure.

use std::sync::Arc;

use cadence::MetricError;

use super::catalog::Count;
use super::registry::{Key, Kind, Registry, Series};
use super::series::Counter;
use super::statsd::{Reporter, Target};

/// A handle to where measurements go. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    /// By the number of [`Count`].
    counters: Vec<Counter>,
    reporter: Option<Reporter>,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measurement {
    /// Added to a counter.
    Count(i64),
    /// The value of a gauge.
    Gauge(f64),
    /// A duration in milliseconds.
    TimingMs(f64),
}

/// A plugin's metric's name is cut after so many bytes.
const MAX_NAME_BYTES: usize = 255;

impl Metrics {
    /// Sends to a StatsD server, without ever waiting for it.
    pub(crate) fn statsd(target: Target) -> Result<Self, MetricError> {
        let registry = Arc::<Registry>::default();
        let reporter = Reporter::start(Arc::clone(&registry), target)?;
        Ok(Self::new(registry, Some(reporter)))
    }

    /// Sends nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Arc::default(), None)
    }

    fn new(registry: Arc<Registry>, reporter: Option<Reporter>) -> Self {
        let counters = Count::ALL.iter().map(|count| {
            let key = Key { name: count.name().to_owned(), labels: Vec::new() };
            match registry.series(&key, Kind::Counter) {
                Some(Series::Counter(counter)) => counter,
                // Names of the catalog are its own.
                _ => Counter::new(),
            }
        });
        let counters = counters.collect();
        Self(Arc::new(Inner { registry, counters, reporter }))
    }

    /// Adds to a counter of the server itself.
    pub(crate) fn count(&self, count: Count, delta: i64) {
        if let Some(counter) = self.0.counters.get(count as usize) {
            counter.add(delta);
        }
    }

    /// Takes a measurement of a plugin as `plugin.PLUGIN.NAME`.
    pub(crate) fn plugin(&self, plugin: &str, name: &str, measurement: Measurement) {
        let mut end = name.len().min(MAX_NAME_BYTES);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let name = format!("plugin.{plugin}.{}", name.get(..end).unwrap_or(name));
        let kind = match measurement {
            Measurement::Count(_) => Kind::Counter,
            Measurement::Gauge(_) => Kind::Gauge,
            Measurement::TimingMs(_) => Kind::Timing,
        };
        let series = self.0.registry.series(&Key { name, labels: Vec::new() }, kind);
        match (series, measurement) {
            (Some(Series::Counter(counter)), Measurement::Count(delta)) => counter.add(delta),
            (Some(Series::Gauge(gauge)), Measurement::Gauge(value)) => gauge.set(value),
            (Some(Series::Timing(timing)), Measurement::TimingMs(ms)) => timing.record(micros(ms)),
            _ => self.count(Count::MetricsRefused, 1),
        }
    }

    /// Sends what has not been sent yet.
    pub(crate) fn flush(&self) {
        if let Some(reporter) = &self.0.reporter {
            reporter.flush();
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from float saturate, and what is no number becomes 0"
)]
fn micros(ms: f64) -> u64 {
    (ms * 1000.0).round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_number_of_their_place() {
        for (number, count) in Count::ALL.iter().enumerate() {
            assert_eq!(*count as usize, number);
        }
    }

    #[test]
    fn a_name_is_of_one_kind() {
        let metrics = Metrics::none();
        metrics.plugin("p", "x", Measurement::Count(2));
        metrics.plugin("p", "x", Measurement::Gauge(2.0));
        let refused = metrics.0.counters[Count::MetricsRefused as usize].total();
        assert_eq!(refused, 1);
    }

    #[test]
    fn durations_are_whole_microseconds() {
        assert_eq!((micros(1.5), micros(-3.0), micros(f64::NAN)), (1500, 0, 0));
    }
}
