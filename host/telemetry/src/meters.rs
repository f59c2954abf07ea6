//! Handles for what is recorded with each message: looked up once, not each
//! time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalog::Metric;
use super::memo::Memo;
use super::metrics::{Metrics, micros};
use super::series::{Counter, Histogram};

/// The channels of one topic pattern.
#[derive(Debug)]
pub struct ChannelMeters {
    metrics: Metrics,
    pattern: String,
    open: Counter,
    events: Memo<Histogram>,
    other: Histogram,
}

/// What all other events are counted under.
const OTHER: &str = "other";

impl ChannelMeters {
    /// Of the topics of a pattern.
    #[must_use]
    pub fn new(metrics: &Metrics, pattern: String) -> Self {
        let open = metrics.counter(Metric::ChannelOpen, &[&pattern]);
        let other = metrics.histogram(Metric::ChannelIn, &[&pattern, OTHER]);
        let events = Memo::new(metrics.events().max());
        Self { metrics: metrics.clone(), pattern, open, events, other }
    }

    /// Channels were joined, or, below zero, have ended.
    pub fn opened(&self, channels: i64) {
        self.open.add(channels);
    }

    /// A join was answered, so.
    pub fn joined(&self, result: &str, took: Duration) {
        self.metrics.time_of(Metric::ChannelJoin, &[&self.pattern, result], took);
    }

    /// An event was handled. Only one that the plugin knows is told apart from then on:
    /// clients send whatever they like, and what a plugin does not know it answers with
    /// an error.
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

/// What gave way in the outboxes of all connections, by policy.
#[derive(Debug)]
pub struct OutboxMeters {
    /// Connections closed because their outbox was full.
    pub close: Counter,
    /// Frames dropped under `drop_oldest`.
    pub drop_oldest: Counter,
    /// Frames replaced under `conflate`.
    pub conflate: Counter,
}

impl OutboxMeters {
    /// The meters of all outboxes of a server.
    pub fn new(metrics: &Metrics) -> Self {
        let of = |policy| metrics.counter(Metric::OutboxDropped, &[policy]);
        Self { close: of("close"), drop_oldest: of("drop_oldest"), conflate: of("conflate") }
    }
}

/// One version of a plugin.
#[derive(Clone, Debug)]
pub struct WasmMeters {
    metrics: Metrics,
    time: Histogram,
    fuel: Histogram,
    memory: Histogram,
    wait: Histogram,
    instantiate: Histogram,
    /// Instances that are there.
    pub instances: Counter,
    /// The memory of all instances, in bytes.
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

    /// The time, if somebody wants to know.
    pub fn now(&self) -> Option<Instant> {
        self.metrics.now()
    }

    /// The time, if it is measured or logged how long a call takes.
    pub fn call_clock(&self) -> Option<Instant> {
        self.metrics.call_clock()
    }

    /// A call has ended well.
    pub fn called(&self, took: Duration, fuel: u64, memory_bytes: usize) {
        if !self.metrics.is_on() {
            return;
        }
        self.time.record(micros(took));
        self.fuel.record(fuel);
        self.memory.record(memory_bytes as u64);
    }

    /// A call has waited since then for an instance.
    pub fn waited(&self, since: Option<Instant>) {
        since.inspect(|since| self.wait.record(micros(since.elapsed())));
    }

    /// An instance was made since then.
    pub fn instantiated(&self, since: Option<Instant>) {
        since.inspect(|since| self.instantiate.record(micros(since.elapsed())));
    }
}

/// One pipeline.
#[derive(Clone, Debug)]
pub struct PipelineMeters {
    is_on: bool,
    wait: Histogram,
    run: Histogram,
    delivery: Histogram,
    /// Dispatchers that were replaced.
    pub replaced: Counter,
}

/// Where and when what is broadcast came about.
#[derive(Clone, Debug)]
pub struct Origin {
    delivery: Histogram,
    /// Milliseconds since the Unix epoch.
    stamped_ms: u64,
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

    /// Whether somebody wants to know.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// A worker starts on an event that has waited so long.
    pub fn waited(&self, nanos: u64) {
        self.wait.record(nanos / 1_000);
    }

    /// A worker's call took so long.
    pub fn ran(&self, took: Duration) {
        self.run.record(micros(took));
    }

    /// Goes with what is broadcast for an event that came about then.
    pub fn origin(&self, stamped_ms: u64) -> Arc<Origin> {
        Arc::new(Origin { delivery: self.delivery.clone(), stamped_ms })
    }
}

impl Origin {
    /// It has reached a client.
    pub fn delivered(&self, wall_ms: u64) {
        // Clocks of two servers may differ.
        self.delivery.record(wall_ms.saturating_sub(self.stamped_ms).saturating_mul(1_000));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventNames, Reading, Wanted, Window};

    /// How often each event was counted, of which those with a `!` are answered with
    /// an error.
    fn counted(names: EventNames, events: &[&str]) -> Vec<(String, u64)> {
        let wanted = Wanted { events: names, kept: true, statsd: None };
        let metrics = Metrics::new(wanted).unwrap();
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
