//! The output of a plugin to stdout and stderr: the last few kilobytes of each call, for the log
//! and the error report.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The bytes of output that are kept; a panic message with its location fits many times over.
const MAX_KEPT_BYTES: usize = 8 * 1024;

/// A writer that keeps the end of what is written to it. It is never full and never blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct OutputTail(Arc<Buffer>);

/// The shared buffer.
#[derive(Debug, Default)]
struct Buffer {
    /// Whether something was written, which is seldom so: the mutex need not be locked then.
    is_written: AtomicBool,
    tail: Mutex<Tail>,
}

/// The kept bytes.
#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    /// The number of bytes that were written before them and dropped.
    lost: usize,
}

/// The output since it was last taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// The last [`MAX_KEPT_BYTES`] of the output.
    pub(super) text: String,
    /// The number of bytes before them, which were dropped.
    pub(super) lost: usize,
}

impl OutputTail {
    /// Takes the output since the last call of this; `None` if there is none.
    pub(super) fn take(&self) -> Option<Written> {
        if !self.0.is_written.load(Ordering::Relaxed) {
            return None;
        }
        let mut tail = self.lock();
        self.0.is_written.store(false, Ordering::Relaxed);
        let Tail { bytes, lost } = std::mem::take(&mut *tail);
        let text = String::from_utf8_lossy(&Vec::from(bytes)).into_owned();
        Some(Written { text, lost })
    }

    fn append(&self, bytes: &[u8]) {
        let mut tail = self.lock();
        // Only the end that is kept is copied, however long the text is.
        let from = bytes.len().saturating_sub(MAX_KEPT_BYTES);
        tail.bytes.extend(bytes.get(from..).unwrap_or_default());
        let excess = tail.bytes.len().saturating_sub(MAX_KEPT_BYTES);
        tail.bytes.drain(..excess);
        tail.lost += from + excess;
        self.0.is_written.store(true, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.0.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl IsTerminal for OutputTail {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for OutputTail {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for OutputTail {
    async fn ready(&mut self) {}
}

impl OutputStream for OutputTail {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.append(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_KEPT_BYTES)
    }
}

impl AsyncWrite for OutputTail {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.append(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let tail = OutputTail::default();
        assert_eq!(tail.take(), None);
        tail.append(&vec![b'a'; MAX_KEPT_BYTES]);
        tail.append(b"panicked");
        let kept = tail.take().unwrap();
        assert_eq!((kept.text.len(), kept.lost), (MAX_KEPT_BYTES, 8));
        assert!(kept.text.ends_with("apanicked"));
        assert_eq!(tail.take(), None);
    }
}
