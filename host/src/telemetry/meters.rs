//! Handles for what is recorded with each message: looked up once, not each
//! time.

use std::time::{Duration, Instant};

use super::catalog::Metric;
use super::memo::Memo;
use super::metrics::{Metrics, micros};
use super::series::{Counter, Histogram};

/// The channels of one topic pattern.
#[derive(Debug)]
pub(crate) struct ChannelMeters {
    metrics: Metrics,
    pattern: String,
    open: Counter,
    events: Memo<Histogram>,
    other: Histogram,
}

/// What all other events are counted under.
const OTHER: &str = "other";

impl ChannelMeters {
    pub(crate) fn new(metrics: &Metrics, pattern: String) -> Self {
        let open = metrics.counter(Metric::ChannelOpen, &[&pattern]);
        let other = metrics.histogram(Metric::ChannelIn, &[&pattern, OTHER]);
        let events = Memo::new(metrics.events().max());
        Self { metrics: metrics.clone(), pattern, open, events, other }
    }

    /// Channels were joined, or, below zero, have ended.
    pub(crate) fn opened(&self, channels: i64) {
        self.open.add(channels);
    }

    /// A join was answered, so.
    pub(crate) fn joined(&self, result: &str, took: Duration) {
        self.metrics.time_of(Metric::ChannelJoin, &[&self.pattern, result], took);
    }

    /// An event was handled.
    pub(crate) fn handled(&self, event: &str, took: Duration) {
        let took = micros(took);
        let new = || {
            let allowed = self.metrics.events().allows(event);
            let labels = [self.pattern.as_str(), event];
            allowed.then(|| self.metrics.histogram(Metric::ChannelIn, &labels))
        };
        if self.events.with(event, new, |known| known.record(took)).is_none() {
            self.other.record(took);
        }
    }
}

/// What gave way in the outboxes of all connections, by policy.
#[derive(Debug)]
pub(crate) struct OutboxMeters {
    pub(crate) close: Counter,
    pub(crate) drop_oldest: Counter,
    pub(crate) conflate: Counter,
}

impl OutboxMeters {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let of = |policy| metrics.counter(Metric::OutboxDropped, &[policy]);
        Self { close: of("close"), drop_oldest: of("drop_oldest"), conflate: of("conflate") }
    }
}

/// One version of a plugin.
#[derive(Clone, Debug)]
pub(crate) struct WasmMeters {
    metrics: Metrics,
    time: Histogram,
    fuel: Histogram,
    memory: Histogram,
    wait: Histogram,
    instantiate: Histogram,
    pub(crate) instances: Counter,
}

impl WasmMeters {
    pub(crate) fn new(metrics: &Metrics, plugin: &str, version: &str) -> Self {
        let of = |metric| metrics.histogram(metric, &[plugin, version]);
        Self {
            metrics: metrics.clone(),
            time: of(Metric::WasmTime),
            fuel: of(Metric::WasmFuel),
            memory: of(Metric::WasmMemory),
            wait: metrics.histogram(Metric::WasmWait, &[plugin]),
            instantiate: metrics.histogram(Metric::WasmInstantiate, &[plugin]),
            instances: metrics.counter(Metric::WasmInstances, &[plugin]),
        }
    }

    /// The time, if somebody wants to know.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.metrics.now()
    }

    /// A call has ended well.
    pub(crate) fn called(&self, took: Duration, fuel: u64, memory_bytes: usize) {
        self.time.record(micros(took));
        self.fuel.record(fuel);
        self.memory.record(memory_bytes as u64);
    }

    /// A call has waited since then for an instance.
    pub(crate) fn waited(&self, since: Option<Instant>) {
        since.inspect(|since| self.wait.record(micros(since.elapsed())));
    }

    /// An instance was made since then.
    pub(crate) fn instantiated(&self, since: Option<Instant>) {
        since.inspect(|since| self.instantiate.record(micros(since.elapsed())));
    }
}
