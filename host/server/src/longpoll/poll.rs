//! The waiting of requests: of a POST for its messages to be read, of a GET for messages.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use millrace_wire::Frame;
use tokio::time;

use super::{Exchange, Polled, Posted};

/// Hands the messages of a POST to the session, and waits until it has read them all. `None` if it
/// reads none for `timeout`; those that are left are dropped.
pub(crate) async fn post(
    exchange: &Exchange,
    frames: Vec<Frame>,
    timeout: Duration,
) -> Option<Posted> {
    let mut frames = VecDeque::from(frames);
    let _lock = time::timeout(timeout, exchange.posting.lock()).await.ok()?;
    loop {
        let left = frames.len();
        let part = poll_fn(|cx| exchange.poll_post(&mut frames, cx));
        match time::timeout(timeout, part).await {
            Ok(posted) => return Some(posted),
            Err(_) if frames.len() < left => {}
            Err(_) => {
                exchange.take_back();
                return None;
            }
        }
    }
}

/// A poll that waits. Dropped, it ends.
#[derive(Debug)]
pub(crate) struct PendingPoll {
    exchange: Arc<Exchange>,
    number: u64,
}

impl PendingPoll {
    /// Begins a poll, which takes the place of the one that waits.
    pub(crate) fn begin(exchange: &Arc<Exchange>) -> Self {
        let exchange = Arc::clone(exchange);
        let number = exchange.begin_poll();
        Self { exchange, number }
    }

    /// Waits for messages, or for the end.
    pub(crate) async fn messages(&self) -> Polled {
        poll_fn(|cx| self.exchange.poll_messages(self.number, cx)).await
    }
}

impl Drop for PendingPoll {
    fn drop(&mut self) {
        self.exchange.end_poll(self.number);
    }
}
