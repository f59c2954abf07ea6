//! Messages on their way in the answer to a poll. They go back if the answer is not written.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame as BodyFrame, SizeHint};
use millrace_wire::Frame;

use super::Exchange;
use crate::net::{AwaitsWrite, OnFlush};

/// The messages for one poll.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The text frames.
    pub(crate) messages: Vec<Frame>,
    pub(super) delivery: Delivery,
}

/// The delivery of a batch. Dropped before the end, it gives the messages to the next poll.
#[derive(Debug)]
pub(crate) struct Delivery {
    exchange: Arc<Exchange>,
    bytes: usize,
    is_written: bool,
}

impl Delivery {
    pub(super) fn new(exchange: Arc<Exchange>, bytes: usize) -> Self {
        Self { exchange, bytes, is_written: false }
    }
}

impl AwaitsWrite for Delivery {
    fn written(mut self: Box<Self>) {
        self.is_written = true;
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.is_written {
            true => self.exchange.delivered_now(self.bytes),
            false => self.exchange.put_back(),
        }
    }
}

/// The body of an answer with messages.
#[derive(Debug)]
pub(crate) struct BatchBody {
    bytes: Option<Bytes>,
    delivery: Option<Delivery>,
    on_flush: OnFlush,
}

impl Batch {
    /// The body of the answer with this JSON. Its messages count as delivered when the connection
    /// of `on_flush` has written it.
    pub(crate) fn into_body(self, json: String, on_flush: &OnFlush) -> BatchBody {
        let (bytes, delivery) = (Some(json.into()), Some(self.delivery));
        BatchBody { bytes, delivery, on_flush: on_flush.clone() }
    }
}

impl Body for BatchBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, io::Error>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        // From now on HTTP has the bytes, and flushes when it has written them.
        if let Some(delivery) = self.delivery.take() {
            self.on_flush.set(Box::new(delivery));
        }
        Poll::Ready(Some(Ok(BodyFrame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
