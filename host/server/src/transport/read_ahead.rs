//! A stream that is read in larger pieces than it is asked for, no further than its
//! owner allows, and written to past the WebSocket library where a frame is large.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::frames::FrameMeter;
use crate::net::{Layer, Plain, Stream};

/// Bytes read at once, by way of the stack.
const PIECE_BYTES: usize = 16 * 1024;

/// What is read and not looked at, at once.
const SKIPPED_BYTES: usize = 1024;

/// What tokio takes as that a socket is not ready.
const NOT_READY: io::ErrorKind = io::ErrorKind::WouldBlock;

/// A stream, and what was read from it and not asked for yet.
///
/// The system calls of a plain one are made directly: libc's may be cancelled, and each has
/// to arm and disarm that, which for a message of its own is a hundredth of all.
///
/// Many small messages come with one read, and between two reads a connection keeps
/// nothing for it: a buffer of its own for each would be most of its memory.
#[derive(Debug)]
pub(super) struct ReadAhead {
    stream: Stream,
    ahead: Bytes,
    last_read: usize,
    /// What may still be read in this turn.
    allowed: usize,
    /// Somebody wanted to read more than that.
    is_cut_short: bool,
    /// What was read since it was last asked.
    read: usize,
    pub(super) frames: FrameMeter,
    /// The client says no more.
    end: Option<ReadEnd>,
    /// A frame that is written directly. Few connections have one.
    direct: Option<Box<Direct>>,
    /// What the system has taken, in all.
    written: u64,
}

/// How a client has ended what it says. The library is not told of it: it would write
/// nothing from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// The stream has ended, or its half that comes from the client.
    Ended,
    /// By a close frame with this code, which the library does not know.
    Closed(u16),
}

/// A frame on its way past the library, which would copy it for each connection and
/// keep as much room for as long as the connection lives.
#[derive(Debug)]
struct Direct {
    head: [u8; DIRECT_HEAD_BYTES],
    head_len: usize,
    payload: Bytes,
    sent: usize,
}

/// One byte for the kind, one for the length, up to eight more for a long one.
const DIRECT_HEAD_BYTES: usize = 10;

/// Frames that are looked at in one turn, small ones and control frames included.
const MOST_FRAMES: u32 = 256;

impl ReadAhead {
    /// A stream of which `early` has been read.
    pub(super) fn new(stream: Stream, early: &[u8]) -> Self {
        Self {
            stream,
            ahead: Bytes::copy_from_slice(early),
            last_read: 0,
            allowed: usize::MAX,
            is_cut_short: false,
            read: 0,
            frames: FrameMeter::default(),
            end: None,
            direct: None,
            written: 0,
        }
    }

    /// Lets so many bytes be read before the next turn. A reader that wants more finds
    /// nothing, and is not woken: [`Self::is_cut_short`] tells.
    pub(super) fn allow(&mut self, bytes: usize) {
        (self.allowed, self.is_cut_short) = (bytes, false);
    }

    /// Whether there may be more to read than was allowed.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// How the client has ended what it says, if it has. A reader finds nothing after it,
    /// and is not woken.
    pub(super) fn end(&self) -> Option<ReadEnd> {
        self.end
    }

    /// Reads past what still comes, to the end of the stream or to an error.
    pub(super) async fn skip_rest(&mut self) {
        // On the heap: every connection's task has room for what is held here.
        let mut skipped = vec![0; SKIPPED_BYTES];
        loop {
            let mut into = ReadBuf::new(&mut skipped);
            let read = poll_fn(|cx| self.poll_some(cx, &mut into)).await;
            if read.is_err() || into.filled().is_empty() {
                return;
            }
        }
    }

    /// What was read since this was last asked, in bytes and whole frames.
    pub(super) fn take_read(&mut self) -> (usize, u32) {
        (std::mem::take(&mut self.read), self.frames.take_ended())
    }

    /// What the system has taken of what was written, in bytes since the start.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Has a frame written as it is, before anything else; `first` is the first byte of
    /// its header. Only when [`Self::poll_direct`] is ready, and with nothing in between
    /// that the library has written in part.
    pub(super) fn direct(&mut self, first: u8, payload: Bytes) {
        let mut head = [first, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let length = (payload.len() as u64).to_be_bytes();
        let [_, second, rest @ ..] = &mut head;
        let head_len = match payload.len() {
            short @ 0..126 => {
                *second = short as u8;
                2
            }
            126..65_536 => {
                *second = 126;
                let [.., high, low] = length;
                [rest[0], rest[1]] = [high, low];
                4
            }
            _ => {
                *second = 127;
                rest.copy_from_slice(&length);
                DIRECT_HEAD_BYTES
            }
        };
        self.direct = Some(Box::new(Direct { head, head_len, payload, sent: 0 }));
    }

    /// Ready when no frame is being written directly any more.
    pub(super) fn poll_direct(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, direct, written, .. } = self;
        while let Some(next) = direct {
            let (bytes, more) = next.next();
            let taken = ready!(poll_send(stream, cx, bytes, more))?;
            *written += taken as u64;
            direct.take_if(|direct| direct.is_over_after(taken));
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes there were when the stream was last read.
    pub(super) fn last_read(&self) -> usize {
        self.last_read
    }

    fn take_ahead(&mut self, into: &mut ReadBuf<'_>) {
        let wanted = into.remaining().min(self.ahead.len());
        into.put_slice(self.ahead.split_at(wanted).0);
        self.ahead.advance(wanted);
        if !self.ahead.has_remaining() {
            self.ahead = Bytes::new();
        }
    }

    fn poll_some(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.ahead.has_remaining() {
            let (last_read, ahead) = match self.stream.layer() {
                Layer::Plain(socket) => ready!(poll_plain(socket, cx, into))?,
                Layer::Tls(stream) => ready!(poll_tls(stream, cx, into))?,
            };
            (self.last_read, self.ahead) = (last_read, ahead);
            return Poll::Ready(Ok(()));
        }
        self.take_ahead(into);
        Poll::Ready(Ok(()))
    }
}

impl Direct {
    /// What is to be written next, and whether more follows.
    fn next(&self) -> (&[u8], bool) {
        let head = self.head.get(..self.head_len).unwrap_or_default();
        match head.get(self.sent..) {
            Some(rest) if !rest.is_empty() => (rest, !self.payload.is_empty()),
            _ => (self.payload.get(self.sent - self.head_len..).unwrap_or_default(), false),
        }
    }

    /// Whether nothing is left after so many bytes more.
    fn is_over_after(&mut self, written: usize) -> bool {
        self.sent += written;
        self.sent >= self.head_len + self.payload.len()
    }
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.allowed == 0 {
            self.is_cut_short = true;
            return Poll::Pending;
        }
        if self.end.is_some() {
            return Poll::Pending;
        }
        let before = into.filled().len();
        ready!(self.poll_some(cx, into))?;
        let bytes = into.filled().get(before..).unwrap_or_default();
        let unknown = self.frames.pass(bytes);
        self.read += bytes.len();
        self.allowed = match self.frames.ended() {
            MOST_FRAMES.. => 0,
            _ => self.allowed.saturating_sub(bytes.len()),
        };
        if bytes.is_empty() {
            self.end = Some(ReadEnd::Ended);
        } else if let Some((code, hidden)) = unknown {
            self.end = Some(ReadEnd::Closed(code));
            into.set_filled(into.filled().len() - hidden);
        }
        match into.filled().len() > before {
            true => Poll::Ready(Ok(())),
            // An end that the library must not see.
            false => Poll::Pending,
        }
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // An answer to a ping, say, goes after the frame that is being written.
        ready!(self.poll_direct(cx))?;
        let written = ready!(poll_send(&mut self.stream, cx, bytes, false))?;
        self.written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Reads what has come; of it, as much as there is room for goes to `into`. Ready with how
/// much it was, and the rest.
fn poll_plain(
    socket: Plain<'_>,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<(usize, Bytes)>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let read = once(socket, Interest::READABLE, || {
            let ((bytes, _), _) = recv(socket, &mut piece, RecvFlags::empty())?;
            let is_all = (1..PIECE_BYTES).contains(&bytes.len());
            Ok((share(bytes, into), is_all))
        });
        match read {
            Err(error) if error.kind() == NOT_READY => {}
            read => return Poll::Ready(read),
        }
    }
}

/// The same of what TLS has protected.
#[inline(never)]
fn poll_tls(
    stream: &mut TlsStream<TcpStream>,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<(usize, Bytes)>> {
    let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
    let mut piece = ReadBuf::uninit(&mut piece);
    ready!(Pin::new(stream).poll_read(cx, &mut piece))?;
    Poll::Ready(Ok(share(piece.filled(), into)))
}

fn share(read: &[u8], into: &mut ReadBuf<'_>) -> (usize, Bytes) {
    let (wanted, rest) = read.split_at(into.remaining().min(read.len()));
    into.put_slice(wanted);
    (read.len(), Bytes::copy_from_slice(rest))
}

/// Writes what is taken; `more` when something follows at once.
fn poll_send(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    bytes: &[u8],
    more: bool,
) -> Poll<io::Result<usize>> {
    let socket = match stream.layer() {
        Layer::Plain(socket) => socket,
        Layer::Tls(stream) => return Pin::new(stream).poll_write(cx, bytes),
    };
    let flags = if more { SendFlags::NOSIGNAL | SendFlags::MORE } else { SendFlags::NOSIGNAL };
    loop {
        ready!(socket.poll_write_ready(cx))?;
        let sent = once(socket, Interest::WRITABLE, || {
            let written = send(socket, bytes, flags)?;
            Ok((written, written < bytes.len()))
        });
        match sent {
            Err(error) if error.kind() == NOT_READY => {}
            sent => return Poll::Ready(sent),
        }
    }
}

/// Makes one system call, which says what came of it and whether that was all that the
/// socket is ready for. If so, there is no use in another before the system says so.
fn once<T>(
    socket: Plain<'_>,
    interest: Interest,
    call: impl FnOnce() -> io::Result<(T, bool)>,
) -> io::Result<T> {
    let mut done = None;
    let tried = socket.try_io(interest, || {
        let (value, is_all) = call()?;
        done = Some(value);
        if is_all { Err(NOT_READY.into()) } else { Ok(()) }
    });
    match done {
        Some(value) => Ok(value),
        None => tried.and(Err(NOT_READY.into())),
    }
}

#[cfg(test)]
#[path = "read_ahead_tests.rs"]
mod tests;
