//! The frames and bytes of a thread's connections, added up until the thread waits: four counters
//! for each message would cost a hundredth of its time.

use std::cell::Cell;

use millrace_telemetry::{Metric, Metrics, Monotonic, Published, unix_ms};

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally::NONE) };
}

/// The frames and bytes that the metrics have not counted yet.
#[derive(Clone, Copy)]
struct Tally {
    frames_in: u32,
    frames_out: u32,
    bytes_in: u64,
    bytes_out: u64,
}

impl Tally {
    const NONE: Self = Self { frames_in: 0, frames_out: 0, bytes_in: 0, bytes_out: 0 };
}

/// The broadcasts that are being written to one connection.
#[derive(Debug, Default)]
pub(super) struct IoCounters {
    /// The times when these broadcasts were published.
    unwritten: Vec<Published>,
}

/// The broadcasts for which memory is kept.
const KEPT_BROADCASTS: usize = 16;
/// The frames after which they are counted, even if the thread never waits.
const MAX_UNCOUNTED_FRAMES: u32 = 256;

/// Counts a frame that was received.
pub(super) fn received(bytes: usize) {
    let tally = TALLY.get();
    let (frames_in, bytes_in) = (tally.frames_in + 1, tally.bytes_in + bytes as u64);
    TALLY.set(Tally { frames_in, bytes_in, ..tally });
}

impl IoCounters {
    /// Counts a frame that is being written; `published` if it is a broadcast.
    pub(super) fn queued(&mut self, bytes: usize, published: Option<Published>) {
        let tally = TALLY.get();
        let (frames_out, bytes_out) = (tally.frames_out + 1, tally.bytes_out + bytes as u64);
        TALLY.set(Tally { frames_out, bytes_out, ..tally });
        self.unwritten.extend(published);
    }

    /// Measures the delays of broadcasts, once everything is written.
    pub(super) fn written(&mut self, metrics: &Metrics) {
        let Tally { frames_in, frames_out, .. } = TALLY.get();
        if frames_in + frames_out >= MAX_UNCOUNTED_FRAMES {
            count(metrics);
        }
        if self.unwritten.is_empty() {
            return;
        }
        let now = Monotonic::now();
        for Published { at, origin } in self.unwritten.drain(..) {
            metrics.time(Metric::BroadcastDelivery, now.since(at));
            origin.inspect(|origin| origin.delivered(unix_ms()));
        }
        self.unwritten.shrink_to(KEPT_BROADCASTS);
    }
}

/// Adds the frames and bytes of this thread to the metrics. Called before the thread waits, and
/// when it ends.
pub(super) fn count(metrics: &Metrics) {
    let Tally { frames_in, frames_out, bytes_in, bytes_out } = TALLY.replace(Tally::NONE);
    let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
    if frames_in > 0 {
        metrics.count(Metric::SocketFramesIn, frames_in.into());
        metrics.count(Metric::SocketBytesIn, bytes(bytes_in));
    }
    if frames_out > 0 {
        metrics.count(Metric::SocketFramesOut, frames_out.into());
        metrics.count(Metric::SocketBytesOut, bytes(bytes_out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_counted_when_there_are_many_and_when_the_thread_waits() {
        let (metrics, mut io_counters) = (Metrics::in_process(), IoCounters::default());
        let so_far = || {
            let metrics_of =
                [Metric::SocketFramesIn, Metric::SocketBytesIn, Metric::SocketFramesOut];
            metrics_of.map(|metric| metrics.total_of(metric, &[]))
        };
        for _ in 0..MAX_UNCOUNTED_FRAMES - 1 {
            received(10);
        }
        io_counters.written(&metrics);
        assert_eq!(so_far(), [0, 0, 0]);
        io_counters.queued(10, None);
        io_counters.written(&metrics);
        assert_eq!(so_far(), [255, 2550, 1]);
        io_counters.queued(10, None);
        count(&metrics);
        assert_eq!(so_far(), [255, 2550, 2]);
    }
}
