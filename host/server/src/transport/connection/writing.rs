//! Frames of the outbox on their way to the client.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Connection, Event};
use crate::outbox::{Outgoing, Queued};
use crate::transport::link::{End, Link};

/// The bytes of the frames that are taken from the outbox at once.
const WRITE_BATCH_BYTES: usize = 64 * 1024;

impl<L: Link> Connection<L> {
    /// Writes the frames of the outbox. Ready with a notice, a request or an end that is in the
    /// outbox before the next frame; pending when all is written or the system takes no more.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut is_all = false;
        loop {
            while let Some(outgoing) = self.taken.pop_front() {
                let queued = match outgoing {
                    Outgoing::Notice(notice) => return Poll::Ready(Event::Notice(notice)),
                    Outgoing::Request(request) => return Poll::Ready(Event::Request(request)),
                    Outgoing::Frame(queued) | Outgoing::Droppable(queued) => queued,
                    Outgoing::Conflated(conflated) | Outgoing::Presence(conflated) => {
                        conflated.queued
                    }
                };
                match self.socket.poll_ready(cx) {
                    Poll::Ready(ready) => {
                        let Queued { frame, published } = queued;
                        self.io_counters.queued(frame.len(), published);
                        if let Err(end) = ready.and_then(|()| self.socket.queue(frame)) {
                            return Poll::Ready(Event::End(end));
                        }
                    }
                    Poll::Pending => {
                        self.taken.push_front(Outgoing::Frame(queued));
                        return self.poll_stalled(cx);
                    }
                }
            }
            if is_all {
                break;
            }
            match self.channels.outbox().poll_take(cx, &mut self.taken, WRITE_BATCH_BYTES) {
                Poll::Ready(Ok(all)) => is_all = all,
                Poll::Ready(Err(reason)) => {
                    return Poll::Ready(Event::End(End::by_server(reason)));
                }
                Poll::Pending => break,
            }
        }
        match self.socket.poll_flush(cx) {
            Poll::Ready(Err(end)) => Poll::Ready(Event::End(end)),
            Poll::Ready(Ok(())) => {
                if self.stalled.take().is_some() {
                    self.has_control_waiting = false;
                    self.channels.timers.taken_by(None);
                }
                self.io_counters.written(&self.channels.node().metrics);
                Poll::Pending
            }
            Poll::Pending => self.poll_stalled(cx),
        }
    }

    /// Notes that the system takes nothing more, as the client does not read. If that lasts for
    /// `socket.stall_timeout_ms`, the connection is closed. Ready when the outbox was closed.
    pub(super) fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let written = self.socket.written();
        if self.stalled != Some(written) {
            self.stalled = Some(written);
            let timeout = Duration::from_millis(self.channels.node().socket.stall_timeout_ms);
            self.channels.timers.taken_by(Some(Instant::now() + timeout));
        }
        self.channels.outbox().poll_closed(cx).map(|reason| Event::End(End::by_server(reason)))
    }
}
