//! What the server counts and measures.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::Metric;
use super::events::EventNames;
use super::registry::{Key, Registry, Series};
use super::series::{Counter, Histogram};
use super::statsd::{Reporter, Target};
use super::topics::TopicTally;

/// A handle to where measurements go. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Arc<Registry>,
    /// By the number of the [`Metric`]; of those with labels, one that is in no
    /// registry.
    own: Vec<Series>,
    events: EventNames,
    topics: TopicTally,
    /// Somebody wants to know.
    on: bool,
    /// The log tells how long each call took.
    is_told: bool,
    reporter: Option<Reporter>,
}

/// Whoever wants to know what is measured.
#[derive(Debug, Default)]
pub struct Wanted {
    /// A StatsD server.
    pub statsd: Option<Target>,
    /// Somebody who looks at it in this process: the dashboard, the admin interface.
    pub kept: bool,
    /// Which events get a series of their own.
    pub events: EventNames,
}

/// Where the log tells of each call, as `debug`.
fn tells_of_calls() -> bool {
    tracing::enabled!(target: "millrace::transport::channels", tracing::Level::DEBUG)
}

impl Metrics {
    /// Measures for whoever wants to know; a StatsD server is sent to without
    /// ever waiting for it. An error when its address is none.
    pub fn new(wanted: Wanted) -> io::Result<Self> {
        let Wanted { statsd, kept, events } = wanted;
        let registry = Arc::<Registry>::default();
        let own = Metric::ALL.iter().map(|metric| own(&registry, *metric)).collect();
        let on = kept || statsd.is_some();
        let reporter = statsd.map(|target| Reporter::start(Arc::clone(&registry), target));
        let reporter = reporter.transpose()?;
        let topics = TopicTally::new(kept);
        let is_told = tells_of_calls();
        Ok(Self(Arc::new(Inner { registry, own, events, topics, on, is_told, reporter })))
    }

    /// Measures for nobody.
    #[must_use]
    pub fn none() -> Self {
        let own = Metric::ALL.iter().map(|metric| Series::new(metric.spec().kind)).collect();
        let (registry, events) = (Arc::default(), EventNames::default());
        let (topics, is_told) = (TopicTally::new(false), tells_of_calls());
        Self(Arc::new(Inner { registry, own, events, topics, on: false, is_told, reporter: None }))
    }

    /// Measures for somebody who looks at it in this process.
    #[must_use]
    pub fn kept() -> Self {
        let events = EventNames::First(usize::MAX);
        // It fails for a StatsD server only.
        Self::new(Wanted { statsd: None, kept: true, events }).unwrap_or_else(|_| Self::none())
    }

    /// Whether somebody wants to know; if not, no clock has to be read.
    pub fn is_on(&self) -> bool {
        self.0.on
    }

    /// What is known.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.0.registry
    }

    /// Which topics have most messages.
    pub fn topics(&self) -> &TopicTally {
        &self.0.topics
    }

    /// Which events get a series of their own.
    pub(super) fn events(&self) -> &EventNames {
        &self.0.events
    }

    /// The time, if somebody wants to know what took how long.
    pub fn now(&self) -> Option<Instant> {
        self.0.on.then(Instant::now)
    }

    /// The time, if somebody wants to know how long a call took, or reads of it in the log.
    pub fn call_clock(&self) -> Option<Instant> {
        (self.0.on || self.0.is_told).then(Instant::now)
    }

    /// Adds to a counter or level without labels.
    pub fn count(&self, metric: Metric, delta: i64) {
        if let Some(Series::Counter(counter) | Series::Level(counter)) =
            self.0.own.get(metric as usize)
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
        if let Some(Series::Gauge(gauge)) = self.0.own.get(metric as usize) {
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
    pub fn record(&self, metric: Metric, value: u64) {
        if let Some(Series::Distribution(histogram)) = self.0.own.get(metric as usize) {
            histogram.record(value);
        }
    }

    /// Records a duration of a timing without labels.
    pub fn time(&self, metric: Metric, duration: Duration) {
        if let Some(Series::Timing(histogram)) = self.0.own.get(metric as usize) {
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
    pub fn own_counter(&self, metric: Metric) -> Counter {
        match self.0.own.get(metric as usize) {
            Some(Series::Counter(counter) | Series::Level(counter)) => counter.clone(),
            _ => Counter::new(),
        }
    }

    /// The totals of a counter with this value of its first label, by its second.
    pub fn totals_of(&self, metric: Metric, first: &str) -> BTreeMap<String, i64> {
        let all = self.0.registry.all();
        let of = |(key, series): (&Arc<Key>, &Series)| match (key.labels.as_slice(), series) {
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
        let key = Key { name: spec.name.to_owned(), labels };
        // When there are too many it is counted for nobody.
        self.0.registry.series(key, spec.kind).unwrap_or_else(|| Series::new(spec.kind))
    }

    /// Sends what has not been sent yet.
    pub fn flush(&self) {
        if let Some(reporter) = &self.0.reporter {
            reporter.flush();
        }
    }
}

/// The series of a metric without labels.
impl Metrics {
    /// The total of the counter with these labels; 0 if it was never added to.
    pub fn total_of(&self, metric: Metric, values: &[&str]) -> i64 {
        let spec = metric.spec();
        let labels = spec.labels.iter().copied().zip(values.iter().map(ToString::to_string));
        let key = Key { name: spec.name.to_owned(), labels: labels.collect() };
        match self.registry().series(key, spec.kind) {
            Some(Series::Counter(counter)) => counter.total(),
            _ => 0,
        }
    }
}

fn own(registry: &Registry, metric: Metric) -> Series {
    let spec = metric.spec();
    let key = Key { name: spec.name.to_owned(), labels: Vec::new() };
    let own = spec.labels.is_empty().then(|| registry.series(key, spec.kind)).flatten();
    own.unwrap_or_else(|| Series::new(spec.kind))
}

/// What timings are recorded in.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_with_and_without_labels_are_in_the_registry() {
        let metrics = Metrics::kept();
        metrics.count(Metric::TaskStarted, 2);
        metrics.count_of(Metric::SocketClose, &["1000", "client"], 1);
        metrics.count_of(Metric::SocketClose, &["1000", "client"], 1);
        assert_eq!(metrics.total_of(Metric::TaskStarted, &[]), 2);
        assert_eq!(metrics.total_of(Metric::SocketClose, &["1000", "client"]), 2);
    }
}
