//! Measurements of the server and of plugins, sent to StatsD.

use std::net::UdpSocket;
use std::sync::Arc;

use cadence::{
    BufferedUdpMetricSink, Counted, Gauged, NopMetricSink, QueuingMetricSink, StatsdClient, Timed,
};

/// A handle to where measurements go. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<StatsdClient>);

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

/// What every name begins with.
const PREFIX: &str = "millrace";
/// Measurements waiting to be sent; more are dropped.
const QUEUE: usize = 64 * 1024;

impl Metrics {
    /// Sends to `address` (`HOST:PORT`), without ever waiting for it.
    pub fn statsd(address: &str) -> Result<Self, cadence::MetricError> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_nonblocking(true)?;
        let sink = BufferedUdpMetricSink::from(address, socket)?;
        let sink = QueuingMetricSink::with_capacity(sink, QUEUE);
        Ok(Self(Arc::new(StatsdClient::from_sink(PREFIX, sink))))
    }

    /// Sends nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new(StatsdClient::from_sink(PREFIX, NopMetricSink)))
    }

    /// Adds to a counter of the server itself, `millrace.NAME`.
    pub(crate) fn count(&self, name: &'static str, delta: i64) {
        // As below: a full queue drops it.
        let _ = self.0.count(name, delta);
    }

    /// Takes a measurement of a plugin as `millrace.plugin.PLUGIN.NAME`.
    /// Characters that mean something in StatsD become `_`.
    pub(crate) fn plugin(&self, plugin: &str, name: &str, measurement: Measurement) {
        let key = format!("plugin.{}.{}", escaped(plugin), escaped(name));
        // A full queue drops it; nothing else can be done here.
        let _ = match measurement {
            Measurement::Count(delta) => self.0.count(&key, delta).map(drop),
            Measurement::Gauge(value) => self.0.gauge(&key, value).map(drop),
            Measurement::TimingMs(ms) => self.0.time(&key, rounded(ms)).map(drop),
        };
    }
}

fn escaped(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

/// Whole milliseconds, which is what every StatsD server understands.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits; casts from float saturate"
)]
fn rounded(ms: f64) -> u64 {
    ms.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_forge_other_metrics() {
        assert_eq!(escaped("a:1|c\nb.c-d_e"), "a_1_c_b.c-d_e");
    }

    #[test]
    fn durations_are_whole_milliseconds() {
        assert_eq!((rounded(1.5), rounded(-3.0), rounded(f64::NAN)), (2, 0, 0));
    }
}
