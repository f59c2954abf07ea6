//! What waits to be written to stderr, and the thread that writes it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::warn;

/// Lines that wait for a reader of stderr, in bytes; further ones are left out. Some thousand
/// lines: a reader that is slow for a moment misses nothing.
const MAX_BYTES: usize = 1024 * 1024;

/// How long the end of the program waits for a reader of the last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// What is kept of the memory of a burst.
const KEPT_BYTES: usize = 64 * 1024;

static QUEUE: Queue = Queue::new(MAX_BYTES);

/// Lines that were left out and have not been counted.
static DROPPED: AtomicI64 = AtomicI64::new(0);

/// Starts the thread that writes.
pub(super) fn start() -> io::Result<LogGuard> {
    thread::Builder::new().name("log".to_owned()).spawn(|| QUEUE.write_to(io::stderr()))?;
    Ok(LogGuard(()))
}

/// A line that comes neither from an event nor from a panic: why the program ends.
pub fn tell(line: &str) {
    QUEUE.push(format!("{line}\n").as_bytes());
}

/// How many lines have been left out since this was asked last.
pub fn dropped_lines() -> i64 {
    DROPPED.swap(0, Ordering::Relaxed)
}

/// While it is there, lines are written. Dropping it waits a moment for the last ones.
#[derive(Debug)]
pub struct LogGuard(());

impl Drop for LogGuard {
    fn drop(&mut self) {
        QUEUE.flush(LAST_LINES);
    }
}

/// Takes an event, which the formatter writes in one piece.
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

/// Lines on their way.
struct Queue {
    waiting: Mutex<Waiting>,
    /// Something waits.
    grown: Condvar,
    /// All is written.
    written: Condvar,
    max_bytes: usize,
}

struct Waiting {
    bytes: Vec<u8>,
    /// What was taken last is being written.
    is_writing: bool,
    /// Lines that were left out since the reader was told.
    dropped: i64,
}

impl Queue {
    const fn new(max_bytes: usize) -> Self {
        let waiting = Waiting { bytes: Vec::new(), is_writing: false, dropped: 0 };
        let (grown, written) = (Condvar::new(), Condvar::new());
        Self { waiting: Mutex::new(waiting), grown, written, max_bytes }
    }

    /// Adds a line, or counts it. Never waits for a reader.
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

    /// Writes for as long as the program runs.
    fn write_to(&self, mut out: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let dropped = self.take(&mut bytes);
            // Whoever reads may have gone, and may come back.
            let _ = out.write_all(&bytes);
            bytes.clear();
            bytes.shrink_to(KEPT_BYTES);
            if dropped > 0 {
                warn!(dropped, "log lines were left out, as they were not read in time");
            }
        }
    }

    /// Waits for something to write; how many lines were left out behind it.
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

    /// Waits until all is written, but not longer than this.
    fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
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

    /// Takes a write when it is told to.
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
        // The writer waits for its reader; nobody waits for the writer.
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
