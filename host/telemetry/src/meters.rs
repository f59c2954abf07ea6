//! Handles of the series that are recorded with each message: looked up once, not each time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::Metric;
use super::handle_cache::HandleCache;
use super::metrics::{Metrics, micros};
use super::series::{Counter, Histogram};

/// The meters of the channels of one topic pattern.
#[derive(Debug)]
pub struct ChannelMeters {
    metrics: Metrics,
    pattern: String,
    open: Counter,
    events: HandleCache<Histogram>,
    other: Histogram,
}

/// The label of all events without a series of their own.
const OTHER: &str = "other";

impl ChannelMeters {
    /// The meters of the channels whose topics match `pattern`.
    #[must_use]
    pub fn new(metrics: &Metrics, pattern: String) -> Self {
        let open = metrics.counter(Metric::ChannelOpen, &[&pattern]);
        let other = metrics.histogram(Metric::ChannelIn, &[&pattern, OTHER]);
        let events = HandleCache::new(metrics.events().max());
        Self { metrics: metrics.clone(), pattern, open, events, other }
    }

    /// Adds to the number of joined channels; negative when channels have ended.
    pub fn opened(&self, channels: i64) {
        self.open.add(channels);
    }

    /// Records the answer to a join: its result, and how long the join took.
    pub fn joined(&self, result: &str, took: Duration) {
        self.metrics.time_of(Metric::ChannelJoin, &[&self.pattern, result], took);
    }

    /// Records that an event was handled. Only an event that the plugin knows gets a series of its
    /// own: clients may send any event, and a plugin answers one that it does not know with an
    /// error.
    pub fn handled(&self, event: &str, took: Duration, is_known: bool) {
        let took = micros(took);
        if self.events.known(event, |known| known.record(took)).is_some() {
            return;
        }
        let new = || {
            let labels = [self.pattern.as_str(), event];
            Some(self.metrics.histogram(Metric::ChannelIn, &labels))
        };
        let may_be_new = is_known && self.metrics.events().allows(event);
        if !may_be_new || self.events.with(event, new, |known| known.record(took)).is_none() {
            self.other.record(took);
        }
    }
}

/// The meters of all connections' outboxes, one for each overflow policy.
#[derive(Debug)]
pub struct OutboxMeters {
    /// The number of connections that were closed because their outbox was full.
    pub close: Counter,
    /// The number of frames that were dropped under `drop_oldest`.
    pub drop_oldest: Counter,
    /// The number of frames that were replaced under `conflate`.
    pub conflate: Counter,
}

impl OutboxMeters {
    /// The meters of all outboxes of a server.
    pub fn new(metrics: &Metrics) -> Self {
        let of = |policy| metrics.counter(Metric::OutboxDropped, &[policy]);
        Self { close: of("close"), drop_oldest: of("drop_oldest"), conflate: of("conflate") }
    }
}

/// The meters of one version of a plugin.
#[derive(Clone, Debug)]
pub struct WasmMeters {
    metrics: Metrics,
    time: Histogram,
    fuel: Histogram,
    memory: Histogram,
    wait: Histogram,
    instantiate: Histogram,
    /// The number of instances that exist.
    pub instances: Counter,
    /// The memory of all instances in bytes.
    pub memory_total: Counter,
}

impl WasmMeters {
    /// The meters of one version of a plugin.
    pub fn new(metrics: &Metrics, plugin: &str, version: &str) -> Self {
        let of = |metric| metrics.histogram(metric, &[plugin, version]);
        Self {
            metrics: metrics.clone(),
            time: of(Metric::WasmTime),
            fuel: of(Metric::WasmFuel),
            memory: of(Metric::WasmMemory),
            wait: metrics.histogram(Metric::WasmWait, &[plugin]),
            instantiate: metrics.histogram(Metric::WasmInstantiate, &[plugin]),
            instances: metrics.counter(Metric::WasmInstances, &[plugin]),
            memory_total: metrics.counter(Metric::WasmMemoryTotal, &[plugin]),
        }
    }

    /// The time, if measurements are wanted.
    #[inline]
    pub fn now(&self) -> Option<Instant> {
        self.metrics.now()
    }

    /// The time, if the duration of calls is measured or logged.
    #[inline]
    pub fn call_clock(&self) -> Option<Instant> {
        self.metrics.call_clock()
    }

    /// Records a call that has ended well.
    #[inline]
    pub fn called(&self, took: Duration, fuel: u64, memory_bytes: usize) {
        if !self.metrics.is_on() {
            return;
        }
        self.time.record(micros(took));
        self.fuel.record(fuel);
        self.memory.record(memory_bytes as u64);
    }

    /// Records how long a call has waited for an instance, since `since`.
    #[inline]
    pub fn waited(&self, since: Option<Instant>) {
        since.inspect(|since| self.wait.record(micros(since.elapsed())));
    }

    /// Records how long it took to make an instance, since `since`.
    #[inline]
    pub fn instantiated(&self, since: Option<Instant>) {
        since.inspect(|since| self.instantiate.record(micros(since.elapsed())));
    }
}

/// The meters of one pipeline.
#[derive(Clone, Debug)]
pub struct PipelineMeters {
    is_on: bool,
    wait: Histogram,
    run: Histogram,
    delivery: Histogram,
    /// The number of dispatchers that were replaced.
    pub replaced: Counter,
}

/// The event of a pipeline that a broadcast was made for: when it was enqueued, and where its
/// delivery is recorded.
#[derive(Clone, Debug)]
pub struct Origin {
    delivery: Histogram,
    /// The time of enqueueing in milliseconds since the Unix epoch.
    enqueued_unix_ms: u64,
}

impl PipelineMeters {
    /// The meters of a pipeline.
    pub fn new(metrics: &Metrics, pipeline: &str) -> Self {
        let of = |metric| metrics.histogram(metric, &[pipeline]);
        Self {
            is_on: metrics.is_on(),
            wait: of(Metric::PipelineWait),
            run: of(Metric::PipelineRun),
            delivery: of(Metric::PipelineDelivery),
            replaced: metrics.counter(Metric::PipelineReplaced, &[pipeline]),
        }
    }

    /// Whether measurements are wanted.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// Records how long an event has waited, in nanoseconds, when a worker starts on it.
    #[inline]
    pub fn waited(&self, nanos: u64) {
        self.wait.record(nanos / 1_000);
    }

    /// Records how long a worker's call took.
    #[inline]
    pub fn ran(&self, took: Duration) {
        self.run.record(micros(took));
    }

    /// The origin of what is broadcast for an event that was enqueued at this time, in milliseconds
    /// since the Unix epoch.
    pub fn origin(&self, enqueued_unix_ms: u64) -> Arc<Origin> {
        Arc::new(Origin { delivery: self.delivery.clone(), enqueued_unix_ms })
    }
}

impl Origin {
    /// Records that a broadcast has reached a client, at this time in milliseconds since the Unix
    /// epoch.
    pub fn delivered(&self, unix_ms: u64) {
        // The clocks of two servers may differ; an event from the future counts as 0.
        self.delivery.record(unix_ms.saturating_sub(self.enqueued_unix_ms).saturating_mul(1_000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventNames, MetricsOptions, Reading, Window};

    /// How often each event was counted. An event that ends in `!` is one that the plugin does not
    /// know.
    fn counted(names: EventNames, events: &[&str]) -> Vec<(String, u64)> {
        let options = MetricsOptions { events: names, in_process: true, statsd: None };
        let metrics = Metrics::new(options).unwrap();
        let meters = ChannelMeters::new(&metrics, "room:*".to_owned());
        for event in events {
            let (name, well) = (event.trim_end_matches('!'), !event.ends_with('!'));
            meters.handled(name, Duration::from_millis(1), well);
        }
        let readings = Window::default().next(metrics.registry()).into_iter();
        let mut counted: Vec<_> = readings
            .filter_map(|(key, reading)| match (key.name.as_str(), reading) {
                ("channel.in", Reading::Timing(all)) => {
                    Some((key.labels.last()?.1.clone(), all.count()))
                }
                _ => None,
            })
            .collect();
        counted.sort();
        counted
    }

    #[test]
    fn events_of_clients_make_no_series_without_end() {
        let events = ["a", "b", "a", "c", "d"];
        let named = |pairs: &[(&str, u64)]| {
            pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>()
        };
        let first = counted(EventNames::First(2), &events);
        assert_eq!(first, named(&[("a", 2), ("b", 1), ("other", 2)]));
        let listed = counted(EventNames::Listed(vec!["c".to_owned()]), &events);
        assert_eq!(listed, named(&[("c", 1), ("other", 4)]));
    }

    #[test]
    fn what_is_answered_with_an_error_takes_no_place() {
        let events = ["x!", "y!", "a", "a!", "z!", "b"];
        let expected = [("a", 2), ("b", 1), ("other", 3)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(counted(EventNames::First(2), &events), expected);
    }
}
