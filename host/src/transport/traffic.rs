//! What goes through one connection, added up until it rests.

use crate::telemetry::{Metric, Metrics, Published, Stamp, wall_ms};

/// What has gone through, and is not counted yet.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    frames_in: u32,
    frames_out: u32,
    bytes_in: u64,
    bytes_out: u64,
    /// When the broadcasts that are being written were published.
    unwritten: Vec<Published>,
}

/// Room for so many broadcasts is kept for the next.
const KEPT: usize = 16;

impl Traffic {
    /// A frame came.
    pub(super) fn received(&mut self, bytes: usize) {
        self.frames_in += 1;
        self.bytes_in += bytes as u64;
    }

    /// A frame is being written, of a broadcast perhaps.
    pub(super) fn queued(&mut self, bytes: usize, published: Option<Published>) {
        self.frames_out += 1;
        self.bytes_out += bytes as u64;
        self.unwritten.extend(published);
    }

    /// Everything is written.
    pub(super) fn written(&mut self, metrics: &Metrics) {
        if self.unwritten.is_empty() {
            return;
        }
        let now = Stamp::now();
        for Published { at, origin } in self.unwritten.drain(..) {
            metrics.time(Metric::BroadcastDelivery, now.since(at));
            origin.inspect(|origin| origin.delivered(wall_ms()));
        }
        self.unwritten.shrink_to(KEPT);
    }

    /// Counts what has gone through.
    pub(super) fn count(&mut self, metrics: &Metrics) {
        let bytes = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.frames_in > 0 {
            metrics.count(Metric::SocketFramesIn, self.frames_in.into());
            metrics.count(Metric::SocketBytesIn, bytes(self.bytes_in));
        }
        if self.frames_out > 0 {
            metrics.count(Metric::SocketFramesOut, self.frames_out.into());
            metrics.count(Metric::SocketBytesOut, bytes(self.bytes_out));
        }
        let unwritten = std::mem::take(&mut self.unwritten);
        *self = Self { unwritten, ..Self::default() };
    }
}
