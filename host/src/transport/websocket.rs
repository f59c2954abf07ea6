//! A WebSocket as something to poll: frames in, frames out, and its end.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::read_ahead::ReadAhead;
use crate::wire::{CloseReason, Frame};

/// Every connection keeps a buffer of this size, and filling it puts zeros there
/// first, so small is cheap in both ways. The socket is read in larger pieces.
const READ_BUFFER_BYTES: usize = 1024;
/// Frames are gathered up to this size before they are written without being
/// asked to.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// How long a client has to answer a close, and to stop sending.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// One WebSocket, after its handshake.
#[derive(Debug)]
pub(super) struct WebSocket {
    stream: WebSocketStream<ReadAhead>,
    unflushed: bool,
}

/// What came from the client.
#[derive(Debug)]
pub(super) enum Received {
    Frame(Frame),
    /// A ping or pong, which is answered by itself.
    Control,
    End(End),
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// The client sent a close frame, with this code if any; it is echoed.
    ByClient(Option<u16>),
    /// The connection broke.
    Broken,
    /// The server closes it, with a text for the close frame.
    ByServer(CloseReason, String),
}

impl End {
    pub(super) fn by_server(reason: CloseReason) -> Self {
        Self::ByServer(reason, reason.text().to_owned())
    }

    /// The close code for metrics, those of RFC 6455 as they are.
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
            _ => "other",
        }
    }

    /// One word for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::ByClient(_) => "client",
            Self::Broken => "broken",
            Self::ByServer(reason, _) => reason.as_str(),
        }
    }
}

impl WebSocket {
    /// Takes over a stream whose handshake is done.
    pub(super) async fn new(stream: ReadAhead, max_frame_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_message_size(Some(max_frame_bytes))
            .max_frame_size(Some(max_frame_bytes));
        let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Self { stream, unflushed: false }
    }

    /// The next thing from the client.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        let message = match Pin::new(&mut self.stream).poll_next(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(message) => message,
        };
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Received::Frame(Frame::Text(text)),
            Some(Ok(Message::Binary(bytes))) => Received::Frame(Frame::Binary(bytes)),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                // The answer to a ping waits to be flushed.
                self.unflushed = true;
                Received::Control
            }
            Some(Ok(Message::Close(frame))) => {
                Received::End(End::ByClient(frame.map(|frame| frame.code.into())))
            }
            Some(Err(error)) => Received::End(end_of(&error)),
            None => Received::End(End::Broken),
        })
    }

    /// Whether this frame, the last that came, came with nothing else: as far as its
    /// size tells.
    pub(super) fn was_alone(&self, frame: &Frame) -> bool {
        // Its length, one byte or more, comes after one for its kind and before four to
        // mask it.
        let header = match frame.len() {
            0..126 => 6,
            126..65_536 => 8,
            _ => 14,
        };
        self.stream.get_ref().last_read() == header + frame.len()
    }

    /// Whether a frame can be queued without the last ones piling up.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        Pin::new(&mut self.stream).poll_ready(cx).map_err(|error| end_of(&error))
    }

    /// Queues a frame; call only when [`Self::poll_ready`] says so.
    pub(super) fn queue(&mut self, frame: Frame) -> Result<(), End> {
        let message = match frame {
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        self.unflushed = true;
        Pin::new(&mut self.stream).start_send(message).map_err(|error| end_of(&error))
    }

    /// Writes what is queued.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            self.unflushed = false;
        }
        flushed.map_err(|error| end_of(&error))
    }

    /// Says goodbye, within [`CLOSE_TIMEOUT`].
    pub(super) async fn close(mut self, end: End) {
        let goodbye = async {
            match end {
                // The echo is queued and only has to be written.
                End::ByClient(_) => self.stream.flush().await.unwrap_or_default(),
                End::Broken => return,
                End::ByServer(reason, text) => {
                    let frame = CloseFrame {
                        code: CloseCode::from(reason.code()),
                        reason: cut(&text).into(),
                    };
                    // The client may be gone, which is as well.
                    self.stream.close(Some(frame)).await.unwrap_or_default();
                }
            }
            self.linger().await;
        };
        // A client that goes on sending or never answers is cut off.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }

    /// Reads until the client closes too. A socket closed with bytes unread is
    /// reset, and the client would never see the close frame.
    async fn linger(&mut self) {
        let stream = self.stream.get_mut();
        if stream.shutdown().await.is_err() {
            return;
        }
        // On the heap: every connection's task has room for what is held here.
        let mut discarded = vec![0; READ_BUFFER_BYTES];
        while matches!(stream.read(&mut discarded).await, Ok(read) if read > 0) {}
    }
}

/// A close frame has room for 123 bytes of text.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(123);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

fn end_of(error: &Error) -> End {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => End::ByServer(
            CloseReason::TooBig,
            format!("a message may have {max_size} bytes, found {size}"),
        ),
        Error::Utf8(_) => End::by_server(CloseReason::InvalidUtf8),
        Error::Protocol(
            tokio_tungstenite::tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
        ) => End::Broken,
        Error::Protocol(problem) => {
            End::ByServer(CloseReason::ProtocolError, format!("websocket: {problem}"))
        }
        _ => End::Broken,
    }
}
