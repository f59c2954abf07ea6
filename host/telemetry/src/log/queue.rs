//! The queue of lines for stderr, and the thread that writes them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

/// The limit of waiting lines in bytes; further lines are dropped and counted. It is some thousand
/// lines, so a reader that is slow for a moment misses none.
const MAX_BYTES: usize = 1024 * 1024;

/// How long the end of the program waits until the last lines are written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The memory in bytes that stays allocated after a burst.
const RETAINED_BYTES: usize = 64 * 1024;

static QUEUE: Queue = Queue::new(MAX_BYTES);

/// The number of lines that were dropped and are not in the metrics yet.
static DROPPED: AtomicI64 = AtomicI64::new(0);

/// Starts the thread that writes.
pub(super) fn start() -> io::Result<LogGuard> {
    thread::Builder::new().name("log".to_owned()).spawn(|| QUEUE.write_to(io::stderr()))?;
    Ok(LogGuard(()))
}

/// Writes a line that belongs to no event, for example why the program ends.
pub fn write_line(line: &str) {
    QUEUE.push(format!("{line}\n").as_bytes());
}

/// The number of lines that were dropped since the last call.
pub fn dropped_lines() -> i64 {
    DROPPED.swap(0, Ordering::Relaxed)
}

/// The guard of the log. Dropping it waits until the last lines are written, for a second at most.
#[derive(Debug)]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        QUEUE.flush(FLUSH_TIMEOUT);
    }
}

/// The writer of one event, which the formatter writes in one piece.
pub(super) struct Line(());

impl Line {
    pub(super) fn new() -> Self {
        Self(())
    }
}

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        QUEUE.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bounded queue of lines.
struct Queue {
    waiting: Mutex<Waiting>,
    /// Signalled when a line was added.
    grown: Condvar,
    /// Signalled when all lines are written.
    written: Condvar,
    max_bytes: usize,
}

struct Waiting {
    bytes: Vec<u8>,
    /// Whether the lines that were taken last are still being written.
    is_writing: bool,
    /// The number of lines that were dropped since the log last said so.
    dropped: i64,
}

impl Queue {
    const fn new(max_bytes: usize) -> Self {
        let waiting = Waiting { bytes: Vec::new(), is_writing: false, dropped: 0 };
        let (grown, written) = (Condvar::new(), Condvar::new());
        Self { waiting: Mutex::new(waiting), grown, written, max_bytes }
    }

    /// Adds a line, or drops and counts it when there is no room. Never waits for the reader.
    fn push(&self, line: &[u8]) {
        let mut waiting = self.lock();
        if waiting.bytes.len() + line.len() > self.max_bytes {
            waiting.dropped += 1;
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        self.grown.notify_one();
    }

    /// Writes lines for as long as the program runs.
    fn write_to(&self, mut out: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let dropped = self.take(&mut bytes);
            // The reader may have gone, and may come back.
            let _ = out.write_all(&bytes);
            bytes.clear();
            bytes.shrink_to(RETAINED_BYTES);
            if dropped > 0 {
                warn!(dropped, "log lines were left out, as they were not read in time");
            }
        }
    }

    /// Waits for lines to write, and takes them; returns how many were dropped since the last time.
    fn take(&self, bytes: &mut Vec<u8>) -> i64 {
        let mut waiting = self.lock();
        waiting.is_writing = false;
        while waiting.bytes.is_empty() {
            self.written.notify_all();
            waiting = self.grown.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.is_writing = true;
        std::mem::swap(&mut waiting.bytes, bytes);
        std::mem::take(&mut waiting.dropped)
    }

    /// Waits until all lines are written, but not longer than `timeout`.
    fn flush(&self, timeout: Duration) {
        let until = Instant::now() + timeout;
        let mut waiting = self.lock();
        while waiting.is_writing || !waiting.bytes.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.written.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// A reader that reads one write each time it is told to.
    struct Reader {
        turns: Receiver<io::Result<()>>,
        read: Sender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turns.recv().unwrap_or(Ok(()))?;
            let _ = self.read.send(bytes.to_owned());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue(max_bytes: usize) -> (&'static Queue, Sender<io::Result<()>>, Receiver<Vec<u8>>) {
        let queue: &'static Queue = Box::leak(Box::new(Queue::new(max_bytes)));
        let (turn, turns) = channel();
        let (read, lines) = channel();
        thread::spawn(move || queue.write_to(Reader { turns, read }));
        (queue, turn, lines)
    }

    #[test]
    fn a_reader_that_stalls_costs_lines_and_nothing_else() {
        let (queue, turn, lines) = queue(10);
        queue.push(b"first\n");
        while !queue.lock().is_writing {
            thread::yield_now();
        }
        // The thread that writes waits for its reader; nobody waits for that thread.
        for line in ["second\n", "third\n", "4\n"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(queue.lock().dropped, 1);
        queue.flush(Duration::ZERO);
        turn.send(Ok(())).unwrap();
        turn.send(Ok(())).unwrap();
        assert_eq!(lines.recv().unwrap(), b"first\n");
        assert_eq!(lines.recv().unwrap(), b"second\n4\n");
        queue.flush(Duration::from_secs(60));
        assert!(queue.lock().bytes.is_empty());
        assert!(dropped_lines() >= 1);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let (queue, turn, lines) = queue(100);
        turn.send(Err(io::ErrorKind::BrokenPipe.into())).unwrap();
        queue.push(b"first\n");
        queue.flush(Duration::from_secs(60));
        turn.send(Ok(())).unwrap();
        queue.push(b"second\n");
        assert_eq!(lines.recv().unwrap(), b"second\n");
    }
}
