//! The measurements of a server: the handle through which everything is counted and measured.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::Metric;
use super::events::EventNames;
use super::registry::{Registry, Series, SeriesKey};
use super::series::{Counter, Histogram};
use super::statsd::{Reporter, Target};
use super::topics::TopicTally;

/// A handle to a server's measurements. A clone shares them.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    /// The series of metrics without labels, by the number of the [`Metric`]. A metric with labels
    /// has one here that is in no registry.
    unlabelled: Vec<Series>,
    events: EventNames,
    topics: TopicTally,
    /// Whether anybody wants measurements.
    on: bool,
    /// Whether the log has the duration of each call.
    logs_calls: bool,
    reporter: Option<Reporter>,
}

/// The receivers of measurements, and what they get.
#[derive(Debug, Default)]
pub struct MetricsOptions {
    /// The StatsD server to send to, if any.
    pub statsd: Option<Target>,
    /// Whether they are read in this process: by the dashboard or the admin interface.
    pub in_process: bool,
    /// The events that get a series of their own.
    pub events: EventNames,
}

/// Whether the log has a line for each call, at level `debug`.
fn log_has_calls() -> bool {
    tracing::enabled!(target: "millrace::transport::channels", tracing::Level::DEBUG)
}

impl Metrics {
    /// Measures for these receivers. Nothing ever waits for a StatsD server.
    ///
    /// # Errors
    ///
    /// The StatsD server's address is not valid, or the thread that reports cannot be started.
    pub fn new(options: MetricsOptions) -> io::Result<Self> {
        let MetricsOptions { statsd, in_process, events } = options;
        let registry = Arc::<Registry>::default();
        let unlabelled = Metric::ALL.iter().map(|metric| unlabelled(&registry, *metric)).collect();
        let on = in_process || statsd.is_some();
        let reporter = statsd.map(|target| Reporter::start(Arc::clone(&registry), target));
        let reporter = reporter.transpose()?;
        let topics = TopicTally::new(in_process);
        let logs_calls = log_has_calls();
        Ok(Self(Arc::new(Inner { registry, unlabelled, events, topics, on, logs_calls, reporter })))
    }

    /// Measures for nobody: everything that is recorded is lost.
    #[must_use]
    pub fn none() -> Self {
        let unlabelled = Metric::ALL.iter().map(|metric| Series::new(metric.spec().kind)).collect();
        let (registry, events) = (Arc::default(), EventNames::default());
        let (topics, logs_calls) = (TopicTally::new(false), log_has_calls());
        Self(Arc::new(Inner {
            registry,
            unlabelled,
            events,
            topics,
            on: false,
            logs_calls,
            reporter: None,
        }))
    }

    /// Measures for readers in this process.
    #[must_use]
    pub fn in_process() -> Self {
        let events = EventNames::First(usize::MAX);
        // Only a StatsD server can make this fail.
        Self::new(MetricsOptions { statsd: None, in_process: true, events })
            .unwrap_or_else(|_| Self::none())
    }

    /// Whether anybody wants measurements; if not, no clock has to be read.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.0.on
    }

    /// The registry of all series.
    #[inline]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// The counts of messages by topic.
    #[inline]
    pub fn topics(&self) -> &TopicTally {
        &self.0.topics
    }

    /// The events that get a series of their own.
    pub(super) fn events(&self) -> &EventNames {
        &self.0.events
    }

    /// The time, if durations are measured.
    #[inline]
    pub fn now(&self) -> Option<Instant> {
        self.0.on.then(Instant::now)
    }

    /// The time, if the durations of calls are measured or logged.
    #[inline]
    pub fn call_clock(&self) -> Option<Instant> {
        (self.0.on || self.0.logs_calls).then(Instant::now)
    }

    /// Adds to a counter or level without labels.
    #[inline]
    pub fn count(&self, metric: Metric, delta: i64) {
        if let Some(Series::Counter(counter) | Series::Level(counter)) =
            self.0.unlabelled.get(metric as usize)
        {
            counter.add(delta);
        }
    }

    /// Adds to a counter with these values of its labels.
    pub fn count_of(&self, metric: Metric, labels: &[&str], delta: i64) {
        self.counter(metric, labels).add(delta);
    }

    /// Sets a gauge without labels.
    pub fn set(&self, metric: Metric, value: f64) {
        if let Some(Series::Gauge(gauge)) = self.0.unlabelled.get(metric as usize) {
            gauge.set(value);
        }
    }

    /// Sets a gauge with these values of its labels.
    pub fn set_of(&self, metric: Metric, labels: &[&str], value: f64) {
        if let Series::Gauge(gauge) = self.series(metric, labels) {
            gauge.set(value);
        }
    }

    /// Records a value of a distribution without labels.
    #[inline]
    pub fn record(&self, metric: Metric, value: u64) {
        if let Some(Series::Distribution(histogram)) = self.0.unlabelled.get(metric as usize) {
            histogram.record(value);
        }
    }

    /// Records a duration of a timing without labels.
    #[inline]
    pub fn time(&self, metric: Metric, duration: Duration) {
        if let Some(Series::Timing(histogram)) = self.0.unlabelled.get(metric as usize) {
            histogram.record(micros(duration));
        }
    }

    /// Records a duration of a timing with these values of its labels.
    pub fn time_of(&self, metric: Metric, labels: &[&str], duration: Duration) {
        self.histogram(metric, labels).record(micros(duration));
    }

    /// A counter or level with these values of its labels.
    pub fn counter(&self, metric: Metric, labels: &[&str]) -> Counter {
        match self.series(metric, labels) {
            Series::Counter(counter) | Series::Level(counter) => counter,
            _ => Counter::new(),
        }
    }

    /// A counter or level without labels.
    pub fn unlabelled_counter(&self, metric: Metric) -> Counter {
        match self.0.unlabelled.get(metric as usize) {
            Some(Series::Counter(counter) | Series::Level(counter)) => counter.clone(),
            _ => Counter::new(),
        }
    }

    /// The totals of a counter with this value of its first label, by the value of its second one.
    pub fn totals_of(&self, metric: Metric, first: &str) -> BTreeMap<String, i64> {
        let all = self.0.registry.all();
        let of = |(key, series): (&Arc<SeriesKey>, &Series)| match (key.labels.as_slice(), series) {
            ([(_, value), (_, second)], Series::Counter(counter))
                if key.name == metric.spec().name && value == first =>
            {
                Some((second.clone(), counter.total()))
            }
            _ => None,
        };
        all.iter().filter_map(of).collect()
    }

    /// A timing or distribution with these values of its labels.
    pub fn histogram(&self, metric: Metric, labels: &[&str]) -> Histogram {
        match self.series(metric, labels) {
            Series::Timing(histogram) | Series::Distribution(histogram) => histogram,
            _ => Histogram::new(),
        }
    }

    fn series(&self, metric: Metric, values: &[&str]) -> Series {
        let spec = metric.spec();
        let labels = spec.labels.iter().zip(values);
        let labels = labels.map(|(label, value)| (*label, (*value).to_owned())).collect();
        let key = SeriesKey { name: spec.name.to_owned(), labels };
        // Above the limit of series, it is recorded where nobody reads it.
        self.0.registry.series(key, spec.kind).unwrap_or_else(|| Series::new(spec.kind))
    }

    /// Sends to the StatsD server now what has not been sent yet.
    pub fn flush(&self) {
        if let Some(reporter) = &self.0.reporter {
            reporter.flush();
        }
    }

    /// The total of the counter with these values of its labels; 0 if it was never added to.
    pub fn total_of(&self, metric: Metric, values: &[&str]) -> i64 {
        let spec = metric.spec();
        let labels = spec.labels.iter().copied().zip(values.iter().map(ToString::to_string));
        let key = SeriesKey { name: spec.name.to_owned(), labels: labels.collect() };
        match self.registry().series(key, spec.kind) {
            Some(Series::Counter(counter)) => counter.total(),
            _ => 0,
        }
    }
}

/// The series of a metric without labels; for one with labels, a series in no registry.
fn unlabelled(registry: &Registry, metric: Metric) -> Series {
    let spec = metric.spec();
    let key = SeriesKey { name: spec.name.to_owned(), labels: Vec::new() };
    let unlabelled = spec.labels.is_empty().then(|| registry.series(key, spec.kind)).flatten();
    unlabelled.unwrap_or_else(|| Series::new(spec.kind))
}

/// A duration in microseconds, the unit in which timings are recorded.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_with_and_without_labels_are_in_the_registry() {
        let metrics = Metrics::in_process();
        metrics.count(Metric::TaskStarted, 2);
        metrics.count_of(Metric::SocketClose, &["1000", "client"], 1);
        metrics.count_of(Metric::SocketClose, &["1000", "client"], 1);
        assert_eq!(metrics.total_of(Metric::TaskStarted, &[]), 2);
        assert_eq!(metrics.total_of(Metric::SocketClose, &["1000", "client"]), 2);
    }
}
