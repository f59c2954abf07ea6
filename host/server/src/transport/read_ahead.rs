//! A stream that is read in larger pieces than the WebSocket library asks for, but not further than
//! its owner allows, and to which large frames are written without the library.

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

/// The bytes that are read at once, into a buffer on the stack.
const PIECE_BYTES: usize = 16 * 1024;

/// The bytes that are skipped at once.
const SKIPPED_BYTES: usize = 1024;

/// The error by which tokio learns that a socket is not ready.
const NOT_READY: io::ErrorKind = io::ErrorKind::WouldBlock;

/// A stream, and the bytes that were read from it but not asked for yet.
///
/// The system calls of a plain stream are made directly: those of libc can be cancelled, and arming
/// and disarming that costs a hundredth of a small message's time.
///
/// Many small messages come with one read. Between two reads, a connection has no read buffer: a
/// buffer for each connection would be most of its memory.
#[derive(Debug)]
pub(super) struct ReadAhead {
    stream: Stream,
    ahead: Bytes,
    last_read: usize,
    /// The bytes that may still be read in this turn.
    allowed: usize,
    /// Whether a reader wanted more bytes than were allowed.
    is_cut_short: bool,
    /// The bytes that were read since [`Self::take_read`].
    read: usize,
    pub(super) frames: FrameMeter,
    /// The way in which the client has ended, if it has.
    end: Option<ReadEnd>,
    /// The frame that is being written directly. Boxed, as few connections have one.
    direct: Option<Box<Direct>>,
    /// The bytes that the system has taken since the start.
    written: u64,
}

/// The way in which a client has ended its side. The library does not see it: it would write
/// nothing from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadEnd {
    /// The stream has ended, or the client has closed its half.
    Ended,
    /// The client has sent a close frame with this code, which the library does not know.
    Closed(u16),
}

/// A frame that is written without the library. The library would copy it for each connection, and
/// keep a buffer of its size for as long as the connection lives.
#[derive(Debug)]
struct Direct {
    head: [u8; DIRECT_HEAD_BYTES],
    head_len: usize,
    payload: Bytes,
    sent: usize,
}

/// The most bytes of a frame's header without a mask: one for the kind, one for the length, and
/// eight more for a long length.
const DIRECT_HEAD_BYTES: usize = 10;

/// The most frames that are read in one turn, control frames included.
const MAX_FRAMES_PER_TURN: u32 = 256;

impl ReadAhead {
    /// Makes a stream of which the bytes `early` have been read already.
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

    /// Allows `bytes` to be read before the next turn. A reader that wants more finds nothing and
    /// is not woken: [`Self::is_cut_short`] says so.
    pub(super) fn allow(&mut self, bytes: usize) {
        (self.allowed, self.is_cut_short) = (bytes, false);
    }

    /// Whether there may be more to read than was allowed.
    pub(super) fn is_cut_short(&self) -> bool {
        self.is_cut_short
    }

    /// The way in which the client has ended its side, if it has. A reader finds nothing after it,
    /// and is not woken.
    pub(super) fn end(&self) -> Option<ReadEnd> {
        self.end
    }

    /// Reads and discards everything up to the end of the stream, or an error.
    pub(super) async fn skip_rest(&mut self) {
        // On the heap: otherwise every connection's task would have room for this buffer.
        let mut skipped = vec![0; SKIPPED_BYTES];
        loop {
            let mut into = ReadBuf::new(&mut skipped);
            let read = poll_fn(|cx| self.poll_some(cx, &mut into)).await;
            if read.is_err() || into.filled().is_empty() {
                return;
            }
        }
    }

    /// Takes what was read since the last call: the number of bytes, and of frames that have ended.
    pub(super) fn take_read(&mut self) -> (usize, u32) {
        (std::mem::take(&mut self.read), self.frames.take_ended())
    }

    /// The bytes that the system has taken since the start.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Starts to write a frame directly, before anything else; `first` is the first byte of its
    /// header. May be called only when [`Self::poll_direct`] is ready, and when the library has no
    /// frame that is written in part.
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

    /// Writes the direct frame. Ready when there is none.
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

    /// The bytes that the last read from the stream got.
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
    /// The bytes that are written next, and whether more follow.
    fn next(&self) -> (&[u8], bool) {
        let head = self.head.get(..self.head_len).unwrap_or_default();
        match head.get(self.sent..) {
            Some(rest) if !rest.is_empty() => (rest, !self.payload.is_empty()),
            _ => (self.payload.get(self.sent - self.head_len..).unwrap_or_default(), false),
        }
    }

    /// Notes that bytes were written. Returns whether the frame is finished.
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
            MAX_FRAMES_PER_TURN.. => 0,
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
            // This is an end that the library must not see.
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
        // What the library writes, such as the answer to a ping, goes after the direct frame.
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

/// Reads what has come, as much as fits of it to `into`. Returns the number of bytes, and those
/// that did not fit.
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

/// [`poll_plain`] for a stream with TLS.
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

/// Writes bytes, and returns how many the system has taken; `more` says that others follow at once.
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

/// Makes one system call. `call` returns its result, and whether the socket has nothing more now:
/// then tokio is told so, and no further call is made before the socket is ready again.
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
