//! The history of exchanges: a file with a line for each. If it gets too long, the older half is
//! dropped.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::store::write_whole;

/// The bytes of the file at most, some three thousand exchanges; then the older half is dropped.
const MAX_BYTES: u64 = 1024 * 1024;

/// One exchange of a version, and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    /// The time, in milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    pub(crate) plugin: String,
    /// The SHA-256 of the version before.
    pub(crate) from: String,
    /// The SHA-256 of the version after.
    pub(crate) to: String,
    /// The name of whoever wanted it, as they say.
    pub(crate) by: String,
    pub(crate) outcome: String,
    /// The share of the connections, if it was a canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<String>,
    /// The reason, if something was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// The file with the history.
#[derive(Debug)]
pub(super) struct ExchangeLog {
    path: PathBuf,
    max_bytes: u64,
    /// Whether the log was told that some of the file cannot be read.
    has_warned: AtomicBool,
}

impl ExchangeLog {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, max_bytes: MAX_BYTES, has_warned: AtomicBool::new(false) }
    }

    /// Adds an exchange, which is on the disk when this returns. The caller makes sure that there
    /// is one call at a time.
    pub(super) fn note(&self, exchange: &Exchange) -> io::Result<()> {
        let mut line = serde_json::to_vec(exchange)?;
        line.push(b'\n');
        let mut options = OpenOptions::new();
        let mut file = options.create(true).read(true).append(true).mode(0o600).open(&self.path)?;
        let length = file.metadata()?.len();
        if let Some(last) = length.checked_sub(1) {
            let mut end = [0];
            file.read_exact_at(&mut end, last)?;
            // A crash has cut the last line off; the new one begins on a line of its own.
            if end != *b"\n" {
                line.insert(0, b'\n');
            }
        }
        file.write_all(&line)?;
        file.sync_data()?;
        if length == 0 {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()?;
        }
        if length + line.len() as u64 > self.max_bytes {
            write_whole(&self.path, &self.end(self.max_bytes / 2)?)?;
        }
        Ok(())
    }

    /// The last exchanges of a plugin, at most `most`, the newest first.
    pub(super) fn last(&self, plugin: &str, most: usize) -> Vec<Exchange> {
        let text = match self.end(self.max_bytes) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                self.warn_once(&error);
                return Vec::new();
            }
        };
        let lines = text.rsplit(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let exchanges = lines.filter_map(|line| {
            let exchange = serde_json::from_slice::<Exchange>(line);
            exchange.inspect_err(|error| self.warn_once(error)).ok()
        });
        exchanges.filter(|exchange| exchange.plugin == plugin).take(most).collect()
    }

    /// The whole lines among the last `most` bytes of the file.
    fn end(&self, most: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(&self.path)?;
        let skipped = file.metadata()?.len().saturating_sub(most);
        file.seek(SeekFrom::Start(skipped))?;
        let mut text = Vec::new();
        file.take(most).read_to_end(&mut text)?;
        if skipped > 0 {
            let whole = text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
            text.drain(..whole);
        }
        Ok(text)
    }

    /// Logs the problem once, as it is the same each time.
    fn warn_once(&self, problem: &dyn std::error::Error) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            let path = self.path.display();
            warn!(%path, "some of the history of exchanges cannot be read: {problem}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn exchange(plugin: &str, to: &str) -> Exchange {
        Exchange {
            at_ms: 7,
            plugin: plugin.to_owned(),
            from: "a".to_owned(),
            to: to.to_owned(),
            by: "ada".to_owned(),
            outcome: "live".to_owned(),
            canary: None,
            why: None,
        }
    }

    fn log() -> (tempfile::TempDir, ExchangeLog) {
        let folder = tempfile::tempdir().unwrap();
        let log = ExchangeLog::new(folder.path().join("history.jsonl"));
        (folder, log)
    }

    #[test]
    fn a_line_that_a_crash_cut_off_takes_no_other_along() {
        let (_folder, log) = log();
        assert_eq!(log.last("room", 9), []);
        for (plugin, to) in [("room", "b"), ("other", "x"), ("room", "c")] {
            log.note(&exchange(plugin, to)).unwrap();
        }
        for rest in [&b"{\"at_ms\":7,\"plu"[..], b"\xff\xfe", b"{}\n\n"] {
            let mut text = fs::read(&log.path).unwrap();
            text.extend_from_slice(rest);
            fs::write(&log.path, text).unwrap();
            let newest = format!("{rest:?}");
            log.note(&exchange("room", &newest)).unwrap();
            assert_eq!(log.last("room", 1), [exchange("room", &newest)]);
        }
        let all: Vec<_> = log.last("room", 9).into_iter().map(|exchange| exchange.to).collect();
        assert_eq!((all.len(), all[3].as_str(), all[4].as_str()), (5, "c", "b"));
    }

    #[test]
    fn the_oldest_give_way_and_lines_stay_whole() {
        let (_folder, mut log) = log();
        log.max_bytes = 2_000;
        for number in 0..200 {
            log.note(&exchange("room", &number.to_string())).unwrap();
            assert!(fs::metadata(&log.path).unwrap().len() <= 2_000);
        }
        let kept = log.last("room", 99);
        assert!(kept.len() >= 5, "{}", kept.len());
        for (exchange, number) in kept.iter().zip((0..200).rev()) {
            assert_eq!(exchange.to, number.to_string());
        }
        assert!(!log.has_warned.load(Ordering::Relaxed));
    }
}
