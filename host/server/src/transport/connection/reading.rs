//! Frames of the client: whether more may be read, and by when a message has to be complete.

use std::task::{Context, Poll};
use std::time::Duration;

use millrace_telemetry::Metric;
use millrace_wire::CloseReason;
use tokio::time::Instant;

use super::{CONGESTED_BYTES, Connection, Event, FINISH_TIMEOUT, LARGE_BYTES, Mode};
use crate::transport::link::{End, Link, Received};
use crate::transport::{io_counters, pace};

/// The bytes a second of the slowest message: it may take `socket.message_timeout_ms`, and one
/// second more for each so many bytes that have come. A slower one closes the connection.
const SLOWEST_BYTES_PER_SECOND: u64 = 16 * 1024;

impl<L: Link> Connection<L> {
    /// The next frame, or the end of the connection. Pending also when the connection has used
    /// up its turn.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        while self.read_budget > 0 && self.throttle.poll_ready(cx).is_ready() {
            let received = self.socket.poll_receive(cx);
            let (bytes, frames) = self.socket.take_read();
            if bytes == 0 && received.is_pending() {
                break;
            }
            let timers = &mut self.channels.timers;
            let now = *self.read_at.get_or_insert_with(|| {
                let now = pace::note_read();
                if L::READING_IS_LIFE {
                    timers.received(now);
                }
                now
            });
            if self.throttle.received(bytes, frames, now) {
                self.channels.count_throttled();
            }
            let Poll::Ready(received) = received else { break };
            self.read_budget -= 1;
            match received {
                Received::Frame(frame) if self.is_refused(frame.len() as u64) => {
                    let end = End::by_server(CloseReason::OutOfMemory);
                    return Poll::Ready(Event::End(end));
                }
                Received::Frame(frame) => {
                    let is_all = self.socket.was_alone(&frame);
                    self.mode = if is_all { Mode::ReadAll } else { Mode::Reading };
                    self.has_received = true;
                    io_counters::received(frame.len());
                    return Poll::Ready(Event::Frame(frame));
                }
                Received::Control if self.stalled.is_some() => {
                    self.has_control_waiting = true;
                    break;
                }
                Received::Control => {}
                Received::Ended => {
                    self.has_ended = true;
                    self.channels.timers.whole_by(Some(Instant::now() + FINISH_TIMEOUT));
                    break;
                }
                Received::End(end) => return Poll::Ready(Event::End(end)),
            }
        }
        let (_, unfinished) = self.socket.unfinished();
        match self.is_refused(unfinished) {
            true => Poll::Ready(Event::End(End::by_server(CloseReason::OutOfMemory))),
            false => Poll::Pending,
        }
    }

    /// Whether the server has no memory for a message of so many bytes. One of [`LARGE_BYTES`]
    /// or less is always taken.
    pub(super) fn is_refused(&self, bytes: u64) -> bool {
        bytes > LARGE_BYTES && self.channels.node().memory.is_exhausted()
    }

    /// Whether more may be read. Not while more than `socket.max_pending_bytes` of this
    /// connection wait, which is counted when it begins, and not while the client has to read
    /// first.
    pub(super) fn may_read(&mut self) -> bool {
        let outbox = match self.stalled {
            Some(_) => self.channels.outbox().bytes(),
            None => 0,
        };
        let waits = self.channels.pending_bytes() + outbox;
        let (unfinished, _) = self.socket.unfinished();
        let unfinished = usize::try_from(unfinished).unwrap_or(usize::MAX);
        // A message may have more bytes than may wait, so one is read when nothing else waits.
        let is_full = waits > 0
            && waits.saturating_add(unfinished) > self.channels.node().socket.max_pending_bytes;
        let must_write =
            self.stalled.is_some() && (outbox > CONGESTED_BYTES || self.has_control_waiting);
        if is_full && !self.is_paused {
            self.channels.node().metrics.count(Metric::SocketPaused, 1);
        }
        self.is_paused = is_full;
        !is_full && !must_write
    }

    /// Sets the deadline of a message of which only a part has come. It has none while the
    /// connection is paused, as the server does not read the rest then.
    pub(super) fn watch_message(&mut self) {
        if self.has_ended {
            return;
        }
        let (unfinished, _) = self.socket.unfinished();
        if unfinished == 0 || self.is_paused {
            if self.message_began.take().is_some() {
                self.channels.timers.whole_by(None);
            }
            return;
        }
        let began = *self.message_began.get_or_insert_with(Instant::now);
        let timeout = Duration::from_millis(self.channels.node().socket.message_timeout_ms);
        let by = began + timeout + Duration::from_secs(unfinished / SLOWEST_BYTES_PER_SECOND);
        self.channels.timers.whole_by(Some(by));
    }
}
