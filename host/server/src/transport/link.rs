//! The link of a connection to its client: a WebSocket, or the requests of long-polling.
//!
//! The connection's loop is made for each kind of link, so that a WebSocket pays nothing for the
//! other.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use millrace_wire::{CloseReason, Frame};
use tokio::time::Instant;

use crate::node::Node;

/// The reader and writer of a connection, which are polled by its loop.
pub(super) trait Link: Send + 'static {
    /// Whether what is read shows that the client is there. Otherwise [`Self::heard_at`] does.
    const READING_IS_LIFE: bool = true;

    /// The time after which a client that is not heard of is closed.
    fn idle_timeout(node: &Node) -> Duration;

    /// The time at which the client was heard of last, if reading does not show that.
    fn heard_at(&self) -> Option<Instant> {
        None
    }

    /// Allows `bytes` to be read before the next turn.
    fn allow(&mut self, bytes: usize);

    /// Whether there may be more to read than was allowed.
    fn is_cut_short(&self) -> bool;

    /// Takes what was read since the last call: the number of bytes, and of frames that have ended.
    fn take_read(&mut self) -> (usize, u32);

    /// The bytes that have come of a message that is not whole, and the bytes that it will have at
    /// least.
    fn unfinished(&self) -> (u64, u64);

    /// The bytes that were taken from the link since the start.
    fn written(&self) -> u64;

    /// Receives the next thing from the client.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received>;

    /// Whether the frame that came last came alone, as far as that can be told.
    fn was_alone(&self, frame: &Frame) -> bool;

    /// Ready when a frame can be queued without too many collecting.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>>;

    /// Queues a frame. May be called only when [`Self::poll_ready`] is ready.
    fn queue(&mut self, frame: Frame) -> Result<(), End>;

    /// Writes what is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>>;

    /// Tells the client of the end, and waits for a short time until it has heard of it.
    fn close(self, end: End) -> impl Future<Output = ()> + Send;
}

/// Something that came from the client.
#[derive(Debug)]
pub(super) enum Received {
    Frame(Frame),
    /// A ping or pong; the library answers it.
    Control,
    /// The client has ended its side, but may still read the replies that it waits for.
    Ended,
    End(End),
}

/// The reason why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client sent a close frame, perhaps with a code; it is echoed.
    ByClient(Option<u16>),
    /// The connection broke.
    Broken,
    /// The server closes the connection, with this text in the close frame.
    ByServer(CloseReason, String),
}

impl End {
    pub(super) fn by_server(reason: CloseReason) -> Self {
        Self::ByServer(reason, reason.text().to_owned())
    }

    /// The close code for metrics (RFC 6455, section 7.4); codes without a label are `other`.
    pub(super) fn code(&self) -> &'static str {
        let code = match self {
            Self::ByClient(code) => code.unwrap_or(1005),
            Self::Broken => 1006,
            Self::ByServer(reason, _) => reason.code(),
        };
        match code {
            1000 => "1000",
            1001 => "1001",
            1002 => "1002",
            1003 => "1003",
            1005 => "1005",
            1006 => "1006",
            1007 => "1007",
            1008 => "1008",
            1009 => "1009",
            1010 => "1010",
            1011 => "1011",
            1012 => "1012",
            1013 => "1013",
            1014 => "1014",
            4001 => "4001",
            _ => "other",
        }
    }

    /// The reason in one word, for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::ByClient(_) => "client",
            Self::Broken => "broken",
            Self::ByServer(reason, _) => reason.as_str(),
        }
    }
}
