//! A WebSocket that is polled: frames in, frames out, and its end.

use std::pin::Pin;
use std::task::ready;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Sink, SinkExt, Stream};
use millrace_wire::{CloseReason, Frame};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};

use super::link::{End, Link, Received};
use super::read_ahead::{ReadAhead, ReadEnd};
use crate::node::Node;

/// The size of the library's read buffer. Every connection keeps one, and the library fills it with
/// zeros first, so a small one saves memory and time. The socket is read in larger pieces.
const READ_BUFFER_BYTES: usize = 1024;
/// The bytes that the library collects before it writes without being asked to.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// The most bytes that the library collects while the system takes nothing: the answers to the
/// pings of one turn, and a frame.
const MAX_WRITE_BUFFER_BYTES: usize = 1024 * 1024;
/// The size in bytes from which on a frame is written directly.
const DIRECT_BYTES: usize = WRITE_BUFFER_BYTES;
/// The bytes of a message after which the library's buffers are replaced: they never shrink, and
/// most messages are small.
const KEPT_BUFFER_BYTES: usize = 64 * 1024;
/// The time in which a client has to answer a close, and to stop sending.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A WebSocket after its handshake.
#[derive(Debug)]
pub(super) struct WebSocket {
    /// The stream; `None` if its buffers could not be replaced: then the connection is broken.
    stream: Option<WebSocketStream<ReadAhead>>,
    unflushed: bool,
    /// A large frame that is written directly, after what the library has collected. Boxed, as few
    /// connections have one.
    large: Option<Box<Frame>>,
    /// The number of messages and control frames that were received.
    received: u64,
    /// Whether the library's buffer has grown with a large message.
    has_large_buffer: bool,
}

/// The first byte of a frame that is a whole text message, and of one that is a whole binary
/// message.
const WHOLE_TEXT: u8 = 0x81;
const WHOLE_BINARY: u8 = 0x82;

impl WebSocket {
    /// Takes over a stream whose handshake is done.
    pub(super) async fn new(stream: ReadAhead, max_frame_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(MAX_WRITE_BUFFER_BYTES)
            .max_message_size(Some(max_frame_bytes))
            .max_frame_size(Some(max_frame_bytes));
        let stream = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        let stream = Some(stream);
        Self { stream, unflushed: false, large: None, received: 0, has_large_buffer: false }
    }

    /// The stream below, unless the connection is broken.
    fn below(&mut self) -> Option<&mut ReadAhead> {
        self.stream.as_mut().map(WebSocketStream::get_mut)
    }

    /// Makes a frame own its bytes, if a large message came before it: it may be a part of that
    /// message's buffer, which would stay in memory with it.
    fn own(&mut self, frame: Frame) -> Frame {
        if frame.len() > KEPT_BUFFER_BYTES {
            self.has_large_buffer = true;
            return frame;
        }
        match frame {
            _ if !self.has_large_buffer => frame,
            Frame::Text(text) => Frame::Text(text.as_str().to_owned().into()),
            Frame::Binary(bytes) => Frame::Binary(Bytes::copy_from_slice(&bytes)),
        }
    }

    /// Replaces the library's buffers, once there is nothing in them.
    fn shrink(&mut self) {
        let is_empty = |stream: &mut WebSocketStream<ReadAhead>| {
            let frames = &stream.get_ref().frames;
            frames.announced() == 0 && frames.whole() == self.received
        };
        if self.unflushed {
            return;
        }
        if let Some(stream) = self.stream.take_if(is_empty) {
            let config = *stream.get_config();
            let anew =
                WebSocketStream::from_raw_socket(stream.into_inner(), Role::Server, Some(config));
            // This does not wait for anything, so it is ready at once.
            self.stream = anew.now_or_never();
            self.has_large_buffer = false;
        }
    }

    /// Writes the large frame. Ready when there is none.
    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(End::Broken)) };
        if self.large.is_some() {
            ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(|error| end_of(&error))?;
            match self.large.take().map(|frame| *frame) {
                Some(Frame::Text(text)) => stream.get_mut().direct(WHOLE_TEXT, text.into()),
                Some(Frame::Binary(bytes)) => stream.get_mut().direct(WHOLE_BINARY, bytes),
                None => {}
            }
        }
        stream.get_mut().poll_direct(cx).map_err(|_| End::Broken)
    }
}

impl Link for WebSocket {
    fn idle_timeout(node: &Node) -> Duration {
        Duration::from_millis(node.socket.idle_timeout_ms)
    }

    /// Allows `bytes` to be read before the next turn; see [`ReadAhead::allow`].
    fn allow(&mut self, bytes: usize) {
        if let Some(below) = self.below() {
            below.allow(bytes);
        }
    }

    /// Whether there may be more to read than was allowed.
    fn is_cut_short(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.get_ref().is_cut_short())
    }

    /// Takes what was read since the last call: the number of bytes, and of frames that have ended.
    fn take_read(&mut self) -> (usize, u32) {
        self.below().map_or((0, 0), ReadAhead::take_read)
    }

    /// The bytes that have come of a message that is not whole, and the bytes that it will have at
    /// least.
    fn unfinished(&self) -> (u64, u64) {
        let frames = self.stream.as_ref().map(|stream| &stream.get_ref().frames);
        frames.map_or((0, 0), |frames| (frames.unfinished(), frames.announced()))
    }

    /// The bytes that the system has taken since the start.
    fn written(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.get_ref().written())
    }

    /// Receives the next thing from the client.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Received> {
        if self.has_large_buffer {
            self.shrink();
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Received::End(End::Broken)) };
        let Poll::Ready(message) = Pin::new(&mut *stream).poll_next(cx) else {
            return match stream.get_ref().end() {
                Some(ReadEnd::Ended) => Poll::Ready(Received::Ended),
                Some(ReadEnd::Closed(code)) => {
                    Poll::Ready(Received::End(End::ByClient(Some(code))))
                }
                None => Poll::Pending,
            };
        };
        self.received += 1;
        Poll::Ready(match message {
            Some(Ok(Message::Text(text))) => Received::Frame(self.own(Frame::Text(text))),
            Some(Ok(Message::Binary(bytes))) => Received::Frame(self.own(Frame::Binary(bytes))),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {
                // The library's answer to a ping has to be flushed.
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

    /// Whether the frame that came last came alone, judged by its size.
    fn was_alone(&self, frame: &Frame) -> bool {
        // A header has a byte for the kind, one or more for the length, and four for the mask.
        let header = match frame.len() {
            0..126 => 6,
            126..65_536 => 8,
            _ => 14,
        };
        let last_read = self.stream.as_ref().map(|stream| stream.get_ref().last_read());
        last_read == Some(header + frame.len())
    }

    /// Ready when a frame can be queued without too many collecting.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        ready!(self.poll_large(cx))?;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(End::Broken)) };
        Pin::new(stream).poll_ready(cx).map_err(|error| end_of(&error))
    }

    /// Queues a frame. May be called only when [`Self::poll_ready`] is ready.
    fn queue(&mut self, frame: Frame) -> Result<(), End> {
        self.unflushed = true;
        if frame.len() >= DIRECT_BYTES {
            self.large = Some(Box::new(frame));
            return Ok(());
        }
        let message = match frame {
            Frame::Text(text) => Message::Text(text),
            Frame::Binary(bytes) => Message::Binary(bytes),
        };
        let Some(stream) = &mut self.stream else { return Err(End::Broken) };
        Pin::new(stream).start_send(message).map_err(|error| end_of(&error))
    }

    /// Writes what is queued.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_large(cx))?;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(End::Broken)) };
        let flushed = Pin::new(stream).poll_flush(cx);
        if flushed.is_ready() {
            self.unflushed = false;
        }
        flushed.map_err(|error| end_of(&error))
    }

    /// Sends the close frame and waits for the client's, for [`CLOSE_TIMEOUT`] at most.
    async fn close(self, end: End) {
        let Some(mut stream) = self.stream else { return };
        let goodbye = async {
            match end {
                End::ByClient(Some(code)) if stream.get_ref().end().is_some() => {
                    // The library has not seen the client's close frame, so it does not echo it.
                    let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
                    stream.close(Some(frame)).await.unwrap_or_default();
                }
                // The library has queued the echo, so it only has to be written.
                End::ByClient(_) => stream.flush().await.unwrap_or_default(),
                End::Broken => return,
                End::ByServer(reason, text) => {
                    let frame = CloseFrame {
                        code: CloseCode::from(reason.code()),
                        reason: cut(&text).into(),
                    };
                    // If the client has gone, that is no problem.
                    stream.close(Some(frame)).await.unwrap_or_default();
                }
            }
            linger(stream.get_mut()).await;
        };
        // A client that goes on sending, or never answers, is cut off.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, goodbye).await;
    }
}

/// Reads until the client closes too. Closing a socket with unread bytes would reset the
/// connection, and the client would never see the close frame.
async fn linger(stream: &mut ReadAhead) {
    if stream.shutdown().await.is_err() {
        return;
    }
    stream.skip_rest().await;
}

/// Cuts a text to the 123 bytes that a close frame has room for (RFC 6455, section 5.5).
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
