//! A connection while it speaks HTTP: a client that takes too little of its response
//! is cut off, so that nobody keeps a place by not reading.

use std::future::Future;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::net::sockopt::set_socket_linger;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tracing::debug;

use crate::telemetry::{Metric, Metrics};

/// What a client has to take of a response while the server has more for it: as
/// little as other servers ask for, and more than the slowest telephone needs.
const MIN_BYTES_PER_SECOND: u64 = 500;

/// A stream whose writes have to go on.
#[derive(Debug)]
pub(super) struct Paced {
    io: TokioIo<TcpStream>,
    /// How long it may take less than that.
    patience: Duration,
    metrics: Metrics,
    /// Handed to the system.
    written: u64,
    /// While it takes nothing more.
    stalled: Option<Stalled>,
}

/// The client, since the system took nothing more for it.
#[derive(Debug)]
struct Stalled {
    /// What it had taken at the beginning.
    taken: u64,
    until: Pin<Box<Sleep>>,
}

impl Paced {
    pub(super) fn new(stream: TcpStream, patience: Duration, metrics: Metrics) -> Self {
        Self { io: TokioIo::new(stream), patience, metrics, written: 0, stalled: None }
    }

    /// The stream, of which HTTP has no more to say.
    pub(super) fn into_inner(self) -> TcpStream {
        self.io.into_inner()
    }

    /// What the client's side has acknowledged.
    fn taken(&self) -> u64 {
        self.written.saturating_sub(unsent(self.io.inner()))
    }

    /// What became of a write; an error when it has waited for too long.
    fn judged(
        &mut self,
        written: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = written {
            self.written += result.as_ref().map_or(0, |bytes| *bytes as u64);
            self.stalled = None;
            return Poll::Ready(result);
        }
        let (patience, taken) = (self.patience, self.taken());
        let stalled = self.stalled.get_or_insert_with(|| {
            let until = Box::pin(sleep_until(Instant::now() + patience));
            Stalled { taken, until }
        });
        while stalled.until.as_mut().poll(context).is_ready() {
            let least = MIN_BYTES_PER_SECOND * patience.as_millis() as u64 / 1000;
            if taken.saturating_sub(stalled.taken) < least.max(1) {
                debug!(taken, "a client does not take its response");
                // Nor does the system keep what it has not taken, for minutes.
                let _ = set_socket_linger(self.io.inner(), Some(Duration::ZERO));
                self.metrics.count_of(Metric::RequestCutOff, &["response"], 1);
                let problem = "the client does not take its response";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)));
            }
            stalled.taken = taken;
            stalled.until.as_mut().reset(Instant::now() + patience);
        }
        Poll::Pending
    }
}

/// What the system holds of what was written, until the other side has it.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix has no name for it")]
fn unsent(stream: &TcpStream) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as the stream, and SIOCOUTQ, which is this
    // number, writes one int.
    let done = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { u64::try_from(bytes).unwrap_or_default() } else { 0 }
}

#[cfg(not(target_os = "linux"))]
fn unsent(_: &TcpStream) -> u64 {
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
        self.judged(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, bytes);
        self.judged(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    async fn pair() -> (Paced, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (Paced::new(server, PATIENCE, Metrics::none()), client)
    }

    /// Writes until so much is written.
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

    #[tokio::test]
    async fn one_that_reads_slowly_is_not() {
        let (mut paced, mut client) = pair().await;
        let bytes = 16 * 1024 * 1024;
        let reading = async move {
            let (mut into, mut all) = (vec![0; 512 * 1024], 0);
            while all < bytes {
                all += client.read(&mut into).await.unwrap();
                tokio::time::sleep(PATIENCE / 10).await;
            }
        };
        let (written, ()) = tokio::join!(write(&mut paced, bytes), reading);
        written.unwrap();
        assert!(paced.taken() <= paced.written && paced.stalled.is_none());
    }
}
