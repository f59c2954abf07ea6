//! The rate at which one client may send.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use millrace_telemetry::TokenBucket;

/// Stops reading from a client that sends too much, until its rate allows more. What the client
/// sends meanwhile waits in the buffers of the network: nothing is lost, and other clients do not
/// notice.
#[derive(Debug)]
pub(super) struct Throttle {
    messages: TokenBucket,
    bytes: TokenBucket,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Throttle {
    /// Allows so many messages and bytes per second; 0 means no limit.
    pub(super) fn new(messages: u32, bytes: u64, now: Instant) -> Self {
        let messages = TokenBucket::new(f64::from(messages), now.into_std());
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let bytes = TokenBucket::new(bytes as f64, now.into_std());
        Self { messages, bytes, pause: None }
    }

    /// Ready when the client may send.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(pause) = &mut self.pause else { return Poll::Ready(()) };
        if pause.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.pause = None;
        Poll::Ready(())
    }

    /// Counts what was read: bytes, and the frames that ended in them, control frames and fragments
    /// included. True when the client has to pause now.
    pub(super) fn received(&mut self, bytes: usize, frames: u32, now: Instant) -> bool {
        let std_now = now.into_std();
        let messages = self.messages.spend(frames.into(), std_now);
        #[expect(clippy::cast_precision_loss, reason = "nobody reads 53 bits of bytes")]
        let debt = messages.max(self.bytes.spend(bytes as f64, std_now));
        if debt == Duration::ZERO {
            return false;
        }
        self.pause = Some(Box::pin(sleep_until(now + debt)));
        true
    }
}
