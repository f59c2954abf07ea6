//! The measurements that a plugin makes itself.

use std::sync::Arc;

use smol_str::SmolStr;

use super::catalog::Metric;
use super::handle_cache::HandleCache;
use super::metrics::Metrics;
use super::registry::{Kind, Series, SeriesKey};

/// One measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum Measurement {
    /// A number to add to a counter.
    Count(i64),
    /// The new value of a gauge.
    Gauge(f64),
    /// A duration in milliseconds.
    TimingMs(f64),
    /// A value of a histogram.
    Histogram(f64),
    /// A member of a set, which counts once.
    Set(SmolStr),
}

/// The series of a plugin; their names are `plugin.PLUGIN.NAME`.
#[derive(Debug)]
pub struct PluginMeters {
    metrics: Metrics,
    plugin: String,
    series: HandleCache<Series>,
}

/// The most names of one plugin; measurements under further names are dropped.
const MAX_NAMES: usize = 512;

/// The limit of a name, and of a value of a set, in bytes; a longer one is cut.
const MAX_NAME_BYTES: usize = 255;

impl PluginMeters {
    /// The meters of a plugin.
    pub fn new(metrics: &Metrics, plugin: &str) -> Self {
        let plugin = plugin.to_owned();
        Self { metrics: metrics.clone(), plugin, series: HandleCache::new(MAX_NAMES) }
    }

    fn record(&self, name: &str, measurement: &Measurement) {
        let new = || {
            let key =
                SeriesKey { name: format!("plugin.{}.{name}", self.plugin), labels: Vec::new() };
            self.metrics.registry().series(key, measurement.kind())
        };
        let recorded = self.series.with(name, new, |series| measurement.record(series));
        if recorded != Some(true) {
            self.dropped(1);
        }
    }

    fn dropped(&self, measurements: usize) {
        let measurements = i64::try_from(measurements).unwrap_or(i64::MAX);
        self.metrics.count_of(Metric::MetricsDropped, &[&self.plugin], measurements);
    }
}

impl Measurement {
    fn kind(&self) -> Kind {
        match self {
            Self::Count(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::TimingMs(_) => Kind::Timing,
            Self::Histogram(_) => Kind::Histogram,
            Self::Set(_) => Kind::Set,
        }
    }

    /// Records the measurement. False if the series is of another type, or is a set that is full.
    fn record(&self, series: &Series) -> bool {
        match (series, self) {
            (Series::Counter(counter), Self::Count(delta)) => counter.add(*delta),
            (Series::Gauge(gauge), Self::Gauge(value)) => gauge.set(*value),
            (Series::Timing(timing), Self::TimingMs(ms)) => timing.record(thousandths(*ms)),
            (Series::Histogram(values), Self::Histogram(value)) => {
                values.record(thousandths(*value));
            }
            (Series::Set(set), Self::Set(value)) => return set.insert(value.clone()),
            _ => return false,
        }
        true
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from float saturate, and what is no number becomes 0"
)]
fn thousandths(value: f64) -> u64 {
    (value * 1000.0).round().max(0.0) as u64
}

/// The measurements of one call, recorded when it has ended, in whatever way.
#[derive(Debug)]
pub struct CallMeasurements {
    meters: Arc<PluginMeters>,
    max: usize,
    taken: Vec<(SmolStr, Measurement)>,
    dropped: usize,
}

impl CallMeasurements {
    /// Room for at most `max` measurements of one call.
    pub fn new(meters: Arc<PluginMeters>, max: usize) -> Self {
        Self { meters, max, taken: Vec::new(), dropped: 0 }
    }

    /// Whether there is room for one more measurement; if not, it is counted as dropped.
    #[inline]
    pub fn has_room(&mut self) -> bool {
        let has_room = self.taken.len() < self.max;
        self.dropped += usize::from(!has_room);
        has_room
    }

    /// Takes a measurement, or counts it as dropped when there are `max`.
    pub fn take(&mut self, name: &str, measurement: Measurement) {
        if self.taken.len() >= self.max {
            self.dropped += 1;
            return;
        }
        self.taken.push((SmolStr::new(cut(name)), measurement));
    }

    /// Takes a value of a set, likewise.
    pub fn take_set(&mut self, name: &str, value: &str) {
        self.take(name, Measurement::Set(SmolStr::new(cut(value))));
    }

    /// Records the measurements that were taken.
    #[inline]
    pub fn flush(&mut self) {
        for (name, measurement) in self.taken.drain(..) {
            self.meters.record(&name, &measurement);
        }
        if self.dropped > 0 {
            self.meters.dropped(std::mem::take(&mut self.dropped));
        }
    }
}

impl Drop for CallMeasurements {
    /// A call that was cut off keeps its measurements, too.
    fn drop(&mut self) {
        self.flush();
    }
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_NAME_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(metrics: &Metrics, name: &str, labels: Vec<(&'static str, String)>) -> i64 {
        let key = SeriesKey { name: name.to_owned(), labels };
        match metrics.registry().series(key, Kind::Counter) {
            Some(Series::Counter(counter)) => counter.total(),
            other => panic!("{other:?}"),
        }
    }

    fn dropped(metrics: &Metrics) -> i64 {
        total(metrics, "metrics.dropped", vec![("plugin", "p".to_owned())])
    }

    #[test]
    fn a_name_is_of_one_kind() {
        let metrics = Metrics::in_process();
        let meters = Arc::new(PluginMeters::new(&metrics, "p"));
        let mut call = CallMeasurements::new(meters, 10);
        call.take("x", Measurement::Count(2));
        call.take("x", Measurement::Gauge(2.0));
        assert_eq!(total(&metrics, "plugin.p.x", Vec::new()), 0);
        drop(call);
        assert_eq!(total(&metrics, "plugin.p.x", Vec::new()), 2);
        assert_eq!(dropped(&metrics), 1);
    }

    #[test]
    fn a_call_measures_no_more_than_it_may() {
        let metrics = Metrics::in_process();
        let meters = Arc::new(PluginMeters::new(&metrics, "p"));
        let mut call = CallMeasurements::new(meters, 3);
        for _ in 0..2 {
            (0..5).for_each(|_| call.take("x", Measurement::Count(1)));
            call.flush();
        }
        assert_eq!(total(&metrics, "plugin.p.x", Vec::new()), 6);
        assert_eq!(dropped(&metrics), 4);
    }

    #[test]
    fn values_are_whole_thousandths() {
        let all = (thousandths(1.5), thousandths(-3.0), thousandths(f64::NAN));
        assert_eq!(all, (1500, 0, 0));
    }
}
