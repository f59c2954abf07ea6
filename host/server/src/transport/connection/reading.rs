//! Frames of the client: whether more may be read, and when a message has to be whole.

use std::task::{Context, Poll};
use std::time::Duration;

use millrace_telemetry::Metric;
use millrace_wire::CloseReason;
use tokio::time::Instant;

use super::{CONGESTED_BYTES, Connection, Event, FINISH_TIMEOUT, LARGE_BYTES, Mode};
use crate::transport::websocket::{End, Received};
use crate::transport::{io_counters, pace};

/// A message that takes longer than `socket.message_timeout_ms` has to come as fast as
/// this, in bytes a second.
const SLOWEST_MESSAGE: u64 = 16 * 1024;

impl Connection {
    /// The next frame. Pending as well when it is the turn of others.
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
                timers.received(now);
                now
            });
            if self.throttle.received(bytes, frames, now) {
                self.channels.throttled();
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
                    self.has_answered = true;
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

    /// Whether there is no memory for a message of so many bytes.
    pub(super) fn is_refused(&self, bytes: u64) -> bool {
        bytes > LARGE_BYTES && self.channels.node().memory.is_exhausted()
    }

    /// Whether more may be read: not while too much of this connection waits.
    pub(super) fn may_read(&mut self) -> bool {
        let outbox = match self.stalled {
            Some(_) => self.channels.outbox().bytes(),
            None => 0,
        };
        let waits = self.channels.pending_bytes() + outbox;
        let (unfinished, _) = self.socket.unfinished();
        let unfinished = usize::try_from(unfinished).unwrap_or(usize::MAX);
        // One message may be larger than what may wait.
        let is_full = waits > 0
            && waits.saturating_add(unfinished) > self.channels.node().socket.max_pending_bytes;
        let must_write = self.stalled.is_some() && (outbox > CONGESTED_BYTES || self.has_answered);
        if is_full && !self.is_paused {
            self.channels.node().metrics.count(Metric::SocketPaused, 1);
        }
        self.is_paused = is_full;
        !is_full && !must_write
    }

    /// Sets the time for a message that has come in part. While the connection is not
    /// read, the client can do nothing about it.
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
        let by = began + timeout + Duration::from_secs(unfinished / SLOWEST_MESSAGE);
        self.channels.timers.whole_by(Some(by));
    }
}
