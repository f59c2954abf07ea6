//! The link of a long-poll session: its frames come with POSTs, and polls take its messages.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use millrace_telemetry::Metric;
use millrace_wire::{CloseReason, Frame};
use tokio::time::Instant;

use crate::longpoll::Exchange;
use crate::node::Node;
use crate::transport::link::{End, Link, Received};

/// The time in which a client that is drained has to take its last messages.
const LAST_POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// A session's side of its exchange. Dropped, it ends the session.
pub(super) struct LongPollLink {
    exchange: Arc<Exchange>,
    node: Arc<Node>,
    /// The number of the session.
    session: u64,
    /// What was read since it was asked for: bytes and frames.
    read: (usize, u32),
}

impl LongPollLink {
    /// The link of a new session, which is found by its number from now on.
    pub(super) fn open(session: u64, node: &Arc<Node>) -> (Self, Arc<Exchange>) {
        let (exchange, node) = (node.longpolls.open(session), Arc::clone(node));
        node.metrics.count(Metric::LongPollOpen, 1);
        (Self { exchange: Arc::clone(&exchange), node, session, read: (0, 0) }, exchange)
    }
}

impl Link for LongPollLink {
    /// Polls do, and so a client that only sends is not there.
    const READING_IS_LIFE: bool = false;

    fn idle_timeout(node: &Node) -> Duration {
        node.socket.longpoll.idle_timeout()
    }

    fn heard_at(&self) -> Option<Instant> {
        Some(self.exchange.polled_at())
    }

    fn allow(&mut self, _: usize) {}

    fn is_cut_short(&self) -> bool {
        false
    }

    fn take_read(&mut self) -> (usize, u32) {
        std::mem::take(&mut self.read)
    }

    fn unfinished(&self) -> (u64, u64) {
        (0, 0)
    }

    fn written(&self) -> u64 {
        self.exchange.delivered()
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        self.exchange.poll_frame(cx).map(|frame| {
            self.read.0 += frame.len();
            self.read.1 += 1;
            Received::Frame(frame)
        })
    }

    fn was_alone(&self, _: &Frame) -> bool {
        self.exchange.is_read()
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.exchange.poll_room(cx).map(Ok)
    }

    fn queue(&mut self, frame: Frame) -> Result<(), End> {
        match frame {
            Frame::Text(_) => self.exchange.push(frame),
            // There is no form for it in the answer to a poll.
            Frame::Binary(_) => self.node.metrics.count(Metric::LongPollBinaryDropped, 1),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        self.exchange.poll_flush(cx).map(Ok)
    }

    async fn close(self, end: End) {
        self.exchange.end();
        if matches!(end, End::ByServer(CloseReason::Restarting, _)) {
            let told = std::future::poll_fn(|cx| self.exchange.poll_told(cx));
            // A client that does not poll has gone.
            let _ = tokio::time::timeout(LAST_POLL_TIMEOUT, told).await;
        }
    }
}

impl Drop for LongPollLink {
    fn drop(&mut self) {
        self.exchange.end();
        self.node.longpolls.remove(self.session);
        self.node.metrics.count(Metric::LongPollOpen, -1);
    }
}
