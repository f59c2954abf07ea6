//! A connection while it speaks HTTP. A client that reads its response too slowly is cut off, so
//! that nobody keeps a place by not reading. A client that still sends after its last response is
//! read for a while: closing a socket with unread bytes resets the connection, and the response is
//! lost.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use millrace_telemetry::{Metric, Metrics};
use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use super::on_flush::OnFlush;
use super::stream::Stream;

/// The bytes per second that a client has to read of a response while the server has more for it:
/// as few as other servers ask for, and fewer than the slowest telephone reads.
const MIN_BYTES_PER_SECOND: u64 = 500;

/// The most bytes that are read and discarded after the last response: the largest upload by
/// default.
const MAX_DISCARDED_BYTES: usize = 64 * 1024 * 1024;
/// The most time that discarding takes.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(10);
/// The time after which discarding ends if the client sends nothing.
const DISCARD_IDLE_TIMEOUT: Duration = Duration::from_secs(2);
/// The bytes that are discarded at once.
const PIECE_BYTES: usize = 8 * 1024;

/// A stream whose client has to read what is written to it.
#[derive(Debug)]
pub(crate) struct Paced {
    io: TokioIo<Stream>,
    /// The time for which a client may read less than [`MIN_BYTES_PER_SECOND`].
    timeout: Duration,
    metrics: Metrics,
    /// What waits until a response is written.
    on_flush: OnFlush,
    /// The bytes that were handed to the system.
    written: u64,
    /// The state of a stalled write; `None` while the system takes bytes.
    stalled: Option<Stalled>,
    /// The state of discarding, once the last response was written.
    discarding: Option<Discarding>,
}

/// A write that the system does not take.
#[derive(Debug)]
struct Stalled {
    /// The bytes that the client had read when the current period began.
    taken: u64,
    until: Pin<Box<Sleep>>,
}

/// The discarding of what a client sends after its last response.
#[derive(Debug)]
struct Discarding {
    discarded: usize,
    end: Instant,
    until: Pin<Box<Sleep>>,
}

impl Discarding {
    fn new() -> Self {
        let now = Instant::now();
        let until = Box::pin(sleep_until(now + DISCARD_IDLE_TIMEOUT));
        Self { discarded: 0, end: now + DISCARD_TIMEOUT, until }
    }

    /// Notes that bytes were discarded; false if these were too many.
    fn add(&mut self, bytes: usize) -> bool {
        self.discarded += bytes;
        self.until.as_mut().reset(self.end.min(Instant::now() + DISCARD_IDLE_TIMEOUT));
        self.discarded <= MAX_DISCARDED_BYTES
    }
}

impl Paced {
    /// `timeout` is the time for which a client may read next to nothing of its response.
    pub(crate) fn new(stream: Stream, timeout: Duration, metrics: Metrics) -> Self {
        let io = TokioIo::new(stream);
        let on_flush = OnFlush::default();
        Self { io, timeout, metrics, on_flush, written: 0, stalled: None, discarding: None }
    }

    /// The place for what waits until a response is written.
    pub(crate) fn on_flush(&self) -> OnFlush {
        self.on_flush.clone()
    }

    /// The stream, once HTTP is finished with it.
    pub(crate) fn into_inner(self) -> Stream {
        self.io.into_inner()
    }

    /// The bytes that the client's side has acknowledged.
    fn taken(&self) -> u64 {
        self.written.saturating_sub(unsent(self.io.inner().as_fd()))
    }

    /// Discards what the client sends. Ready when the client has closed its side, or after
    /// [`DISCARD_TIMEOUT`].
    fn poll_discarding(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let discarding = self.discarding.get_or_insert_with(Discarding::new);
        let mut piece = [0; PIECE_BYTES];
        let is_over = loop {
            let mut into = ReadBuf::new(&mut piece);
            match Pin::new(self.io.inner_mut()).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if into.filled().is_empty() => return Poll::Ready(()),
                Poll::Ready(Ok(())) if discarding.add(into.filled().len()) => {}
                Poll::Ready(Ok(())) => break true,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break Instant::now() >= discarding.end,
            }
        };
        if is_over {
            debug!(discarded = discarding.discarded, "a client sends on behind its answer");
            self.metrics.count_of(Metric::RequestCutOff, &["unread"], 1);
            return Poll::Ready(());
        }
        discarding.until.as_mut().poll(context)
    }

    /// Checks the result of a write: an error if the client has read too little for too long.
    fn check_write(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            self.written += result.as_ref().map_or(0, |bytes| *bytes as u64);
            self.stalled = None;
            return Poll::Ready(result);
        }
        let (timeout, taken) = (self.timeout, self.taken());
        let stalled = self.stalled.get_or_insert_with(|| {
            let until = Box::pin(sleep_until(Instant::now() + timeout));
            Stalled { taken, until }
        });
        while stalled.until.as_mut().poll(context).is_ready() {
            let least = MIN_BYTES_PER_SECOND * timeout.as_millis() as u64 / 1000;
            if taken.saturating_sub(stalled.taken) < least.max(1) {
                debug!(taken, "a client does not take its response");
                // With SO_LINGER 0 the system does not keep the unread bytes for minutes.
                let _ = set_socket_linger(self.io.inner(), Some(Duration::ZERO));
                self.metrics.count_of(Metric::RequestCutOff, &["response"], 1);
                let problem = "the client does not take its response";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)));
            }
            stalled.taken = taken;
            stalled.until.as_mut().reset(Instant::now() + timeout);
        }
        Poll::Pending
    }
}

/// The bytes that were written, but that the other side has not acknowledged.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix has no name for it")]
fn unsent(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as it is borrowed, and SIOCOUTQ, which is this
    // number, writes one int.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or_default() } else { 0 }
}

#[cfg(not(target_os = "linux"))]
fn unsent(_: BorrowedFd<'_>) -> u64 {
    0
}

impl Read for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl Write for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.check_write(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.check_write(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // HTTP flushes once all that it has was written.
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        if let Poll::Ready(Ok(())) = flushed {
            self.on_flush.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.discarding.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(context))?;
        }
        self.poll_discarding(context).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(200);

    async fn pair() -> (Paced, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Paced::new(server.into(), TIMEOUT, Metrics::none()), client)
    }

    /// Writes until `bytes` are written.
    async fn write(paced: &mut Paced, bytes: usize) -> io::Result<()> {
        let (piece, mut written) = (vec![0; 64 * 1024], 0);
        while written < bytes {
            written += poll_fn(|context| Pin::new(&mut *paced).poll_write(context, &piece)).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_is_cut_off() {
        let (mut paced, _client) = pair().await;
        let writing = write(&mut paced, usize::MAX);
        let error = timeout(Duration::from_secs(20), writing).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    /// What a client gets that sends `bytes` before it reads.
    async fn sends(bytes: usize) -> (io::Result<String>, Paced) {
        let (mut paced, client) = pair().await;
        let (mut reading, mut writing) = client.into_split();
        let answer = b"an answer";
        poll_fn(|context| Pin::new(&mut paced).poll_write(context, answer)).await.unwrap();
        let closing = async {
            poll_fn(|context| Pin::new(&mut paced).poll_shutdown(context)).await.unwrap();
            paced
        };
        let asking = async {
            let (piece, mut sent, mut text) = (vec![0; 64 * 1024], 0, String::new());
            while sent < bytes {
                sent += writing.write(&piece).await?;
            }
            reading.read_to_string(&mut text).await?;
            drop(writing);
            Ok::<_, io::Error>(text)
        };
        let (text, paced) = tokio::join!(asking, closing);
        (text, paced)
    }

    #[tokio::test]
    async fn a_client_that_still_sends_has_its_answer() {
        let (text, paced) = sends(20_000_000).await;
        assert_eq!(text.unwrap(), "an answer");
        assert!(paced.discarding.unwrap().discarded >= 20_000_000);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_sends_nothing_and_stays_is_waited_for_no_longer() {
        let (mut paced, _client) = pair().await;
        let began = Instant::now();
        poll_fn(|context| Pin::new(&mut paced).poll_shutdown(context)).await.unwrap();
        let waited = began.elapsed();
        assert!(waited >= DISCARD_IDLE_TIMEOUT && waited < DISCARD_TIMEOUT, "{waited:?}");
    }

    #[tokio::test]
    async fn one_that_sends_for_ever_is_not_read_for_ever() {
        let ((), discarded) = timeout(Duration::from_secs(60), async {
            let (mut paced, mut client) = pair().await;
            let sending = async move {
                let piece = vec![0; 64 * 1024];
                while client.write_all(&piece).await.is_ok() {}
            };
            let closing = async move {
                poll_fn(|context| Pin::new(&mut paced).poll_shutdown(context)).await.unwrap();
                paced.discarding.take().unwrap().discarded
            };
            tokio::join!(sending, closing)
        })
        .await
        .unwrap();
        let past = discarded - MAX_DISCARDED_BYTES;
        assert!(past > 0 && past <= PIECE_BYTES, "{discarded}");
    }

    #[tokio::test]
    async fn one_that_reads_slowly_is_not() {
        let (mut paced, mut client) = pair().await;
        let bytes = 16 * 1024 * 1024;
        let reading = async move {
            let (mut into, mut all) = (vec![0; 512 * 1024], 0);
            while all < bytes {
                all += client.read(&mut into).await.unwrap();
                tokio::time::sleep(TIMEOUT / 10).await;
            }
        };
        let (written, ()) = tokio::join!(write(&mut paced, bytes), reading);
        written.unwrap();
        assert!(paced.taken() <= paced.written && paced.stalled.is_none());
    }
}
