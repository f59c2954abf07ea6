//! A stream that is read in larger pieces than it is asked for.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// Bytes read at once, by way of the stack.
const PIECE_BYTES: usize = 16 * 1024;

/// What tokio takes as that a socket is not ready.
const NOT_READY: io::ErrorKind = io::ErrorKind::WouldBlock;

/// A TCP stream, and what was read from it and not asked for yet.
///
/// Its system calls are made directly: libc's may be cancelled, and each has to arm and
/// disarm that, which for a message of its own is a hundredth of all.
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

    /// Reads what has come: of it, as much as there is room for goes to `into`.
    fn try_read(&mut self, into: &mut ReadBuf<'_>) -> io::Result<()> {
        let mut piece = [MaybeUninit::uninit(); PIECE_BYTES];
        let (read, ahead) = once(&self.stream, Interest::READABLE, || {
            let ((bytes, _), _) = recv(&self.stream, &mut piece, RecvFlags::empty())?;
            let (wanted, rest) = bytes.split_at(into.remaining().min(bytes.len()));
            into.put_slice(wanted);
            let is_all = (1..PIECE_BYTES).contains(&bytes.len());
            Ok(((bytes.len(), Bytes::copy_from_slice(rest)), is_all))
        })?;
        (self.last_read, self.ahead) = (read, ahead);
        Ok(())
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        once(&self.stream, Interest::WRITABLE, || {
            let written = send(&self.stream, bytes, SendFlags::NOSIGNAL)?;
            Ok((written, written < bytes.len()))
        })
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
            loop {
                ready!(self.stream.poll_read_ready(cx))?;
                match self.try_read(into) {
                    Err(error) if error.kind() == NOT_READY => {}
                    read => return Poll::Ready(read),
                }
            }
        }
        self.take_ahead(into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ReadAhead {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.try_write(bytes) {
                Err(error) if error.kind() == NOT_READY => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Makes one system call, which says what came of it and whether that was all that the
/// socket is ready for. If so, there is no use in another before the system says so.
fn once<T>(
    stream: &TcpStream,
    interest: Interest,
    call: impl FnOnce() -> io::Result<(T, bool)>,
) -> io::Result<T> {
    let mut done = None;
    let tried = stream.try_io(interest, || {
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
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(early: &[u8]) -> (ReadAhead, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (ReadAhead::new(stream, early), client)
    }

    #[tokio::test]
    async fn everything_is_read_in_order_and_then_the_end() {
        let (mut stream, mut client) = pair(b"early").await;
        // More than a piece, so that some are read whole and some are not.
        let sent: Vec<u8> = (0..5 * PIECE_BYTES).map(|n| (n % 251) as u8).collect();
        let expected = [b"early".as_slice(), &sent].concat();
        let sends = tokio::spawn(async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        });
        let mut read = Vec::new();
        let mut small = [0; 1000];
        loop {
            match stream.read(&mut small).await.unwrap() {
                0 => break,
                n => read.extend_from_slice(&small[..n]),
            }
        }
        assert!(read == expected, "{} of {} bytes", read.len(), expected.len());
        sends.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_read_last_is_known_and_waited_for() {
        let (mut stream, mut client) = pair(b"").await;
        let mut into = [0; 2];
        for sent in [b"abc".as_slice(), b"d"] {
            let mut read = std::pin::pin!(stream.read(&mut into));
            let first = std::future::poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await;
            assert!(first.is_pending(), "nothing was sent");
            client.write_all(sent).await.unwrap();
            assert_eq!(read.await.unwrap(), sent.len().min(2));
            assert_eq!(stream.last_read(), sent.len());
            let rest = sent.len().saturating_sub(2);
            stream.read_exact(&mut into[..rest]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_late_gets_everything() {
        let (mut stream, mut client) = pair(b"").await;
        let sent: Vec<u8> = (0..16 << 20).map(|n| (n % 251) as u8).collect();
        let mut write = std::pin::pin!(stream.write_all(&sent));
        let first = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
        assert!(first.is_pending(), "no socket takes 16 MiB");
        let mut read = vec![0; sent.len()];
        let (written, got) = tokio::join!(write, client.read_exact(&mut read));
        written.unwrap();
        got.unwrap();
        assert!(read == sent);
    }

    #[tokio::test]
    async fn a_client_that_is_gone_is_an_error() {
        let (mut stream, client) = pair(b"").await;
        drop(client);
        let bytes = vec![0; 1 << 20];
        let error = loop {
            if let Err(error) = stream.write_all(&bytes).await {
                break error;
            }
        };
        let kind = error.kind();
        assert!(
            matches!(kind, io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset),
            "{kind}"
        );
    }
}
