//! The price of a measurement: `cargo bench -p millrace --bench telemetry`.
//!
//! Each figure is the time for one record, by one thread and by two at once.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use millrace_telemetry::{ChannelMeters, Metric, Metrics};

fn main() {
    // Memory that is allocated by the first record is not part of the measurement.
    (0..2).for_each(|_| timing());
    handled_event();
    divan::main();
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::in_process);
static CHANNEL: LazyLock<ChannelMeters> =
    LazyLock::new(|| ChannelMeters::new(&METRICS, "room:*".to_owned()));

const TOOK: Duration = Duration::from_micros(37);

#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn counter() {
    METRICS.count(Metric::SocketFramesIn, divan::black_box(1));
}

#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn timing() {
    METRICS.time(Metric::BroadcastDelivery, divan::black_box(TOOK));
}

/// A record with the look-up of the event's series.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn handled_event() {
    CHANNEL.handled(divan::black_box("new_msg"), TOOK, true);
}

/// For comparison: the time that two readings of the clock take.
#[divan::bench(threads = [1, 2], sample_size = 1000)]
fn clock_twice() -> Duration {
    Instant::now().elapsed()
}
