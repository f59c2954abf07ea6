//! A stream that is read in larger pieces than it is asked for.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes read at once, by way of the stack.
const PIECE_BYTES: usize = 16 * 1024;

/// A TCP stream, and what was read from it and not asked for yet.
///
/// Many small messages come with one read, and between two reads a connection keeps
/// nothing for it: a buffer of its own for each would be most of its memory.
#[derive(Debug)]
pub(super) struct ReadAhead {
    stream: TcpStream,
    ahead: Bytes,
    last_read: usize,
}

impl ReadAhead {
    /// A stream of which `early` has been read.
    pub(super) fn new(stream: TcpStream, early: &[u8]) -> Self {
        Self { stream, ahead: Bytes::copy_from_slice(early), last_read: 0 }
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
}

impl AsyncRead for ReadAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.has_remaining() {
            let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
            let mut piece = ReadBuf::uninit(&mut piece);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
            let (wanted, ahead) =
                piece.filled().split_at(into.remaining().min(piece.filled().len()));
            into.put_slice(wanted);
            self.last_read = wanted.len() + ahead.len();
            self.ahead = Bytes::copy_from_slice(ahead);
            return Poll::Ready(Ok(()));
        }
        self.take_ahead(into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
