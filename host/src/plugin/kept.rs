//! The versions of plugins on disk: which was made live while the server ran, so
//! that it is live after a restart, and what became of all of them.
//!
//! ```text
//! .millrace/versions/NAME/SHA256.wasm   a component, and beside it SHA256.sig
//! .millrace/versions/NAME/live.json     which one is live, in whose place
//! .millrace/versions/history.jsonl      one line for each exchange
//! ```
//!
//! A file appears whole or not at all. `live.json` comes last: a server that is
//! killed in between starts with the version that was live before.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The versions of an app's plugins on disk.
#[derive(Debug)]
pub(crate) struct Kept {
    folder: PathBuf,
    /// Of one plugin; the oldest goes.
    most: usize,
    writing: Mutex<()>,
}

/// A version that was made live.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeptVersion {
    pub(crate) path: PathBuf,
    pub(crate) signature: Option<Vec<u8>>,
}

/// Which version is live.
#[derive(Debug, Serialize, Deserialize)]
struct Live {
    sha256: String,
    /// Of the file that is configured: once another one is, it is live.
    configured: String,
}

/// What became of one exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Exchange {
    /// Milliseconds since the Unix epoch.
    pub(crate) at_ms: u64,
    pub(crate) plugin: String,
    /// SHA-256 sums.
    pub(crate) from: String,
    pub(crate) to: String,
    /// Who wanted it, as they say.
    pub(crate) by: String,
    pub(crate) outcome: String,
    /// Of the connections, if it was a canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) canary: Option<String>,
    /// What was wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

impl Kept {
    /// Those of the app in this folder.
    pub(crate) fn new(app: &Path, most: usize) -> Self {
        let folder = app.join(".millrace/versions");
        Self { folder, most, writing: Mutex::default() }
    }

    /// The version that was made live in place of the configured one, if there is
    /// one.
    pub(crate) fn live(&self, plugin: &str, configured: &str) -> Option<KeptVersion> {
        let text = fs::read(self.folder.join(plugin).join("live.json")).ok()?;
        let live: Live = serde_json::from_slice(&text).ok()?;
        if live.configured != configured {
            tracing::info!(plugin, "another file is configured than before the last exchange");
            return None;
        }
        Some(self.version(plugin, &live.sha256))
    }

    /// A version that was put here, if it has not been forgotten since.
    pub(crate) fn version(&self, plugin: &str, sha256: &str) -> KeptVersion {
        let path = self.component(plugin, sha256);
        let signature = fs::read(path.with_extension("sig")).ok();
        KeptVersion { path, signature }
    }

    /// In whose place a version of a plugin went live last; its SHA-256.
    pub(crate) fn before(&self, plugin: &str, sha256: &str) -> Option<String> {
        let mut exchanges = self.history(plugin, usize::MAX).into_iter();
        let exchange = exchanges.find(|e| e.outcome == "live" && e.to == sha256)?;
        Some(exchange.from).filter(|from| from != sha256)
    }

    /// Keeps a component, to be live perhaps.
    pub(crate) fn put(
        &self,
        plugin: &str,
        sha256: &str,
        wasm: &[u8],
        signature: Option<&[u8]>,
    ) -> io::Result<()> {
        let path = self.component(plugin, sha256);
        if let Some(signature) = signature {
            self.write(&path.with_extension("sig"), signature)?;
        }
        self.write(&path, wasm)
    }

    /// Makes a version that was put here the live one after a restart; the configured
    /// one if it is that.
    pub(crate) fn point(&self, plugin: &str, sha256: &str, configured: &str) -> io::Result<()> {
        let path = self.folder.join(plugin).join("live.json");
        if sha256 == configured {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let (sha256, configured) = (sha256.to_owned(), configured.to_owned());
        let live = serde_json::to_vec(&Live { sha256: sha256.clone(), configured })?;
        self.write(&path, &live)?;
        self.forget_oldest(plugin, &sha256);
        Ok(())
    }

    /// Notes what became of an exchange.
    pub(crate) fn note(&self, exchange: &Exchange) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.prepare(&self.folder)?;
        let path = self.folder.join("history.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut line = serde_json::to_vec(exchange)?;
        line.push(b'\n');
        file.write_all(&line)
    }

    /// The last exchanges of a plugin, the newest first.
    pub(crate) fn history(&self, plugin: &str, most: usize) -> Vec<Exchange> {
        let Ok(file) = File::open(self.folder.join("history.jsonl")) else { return Vec::new() };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        // A line that was cut off by a crash is none.
        let all = lines.filter_map(|line| serde_json::from_str::<Exchange>(&line).ok());
        let mut all: Vec<_> = all.filter(|exchange| exchange.plugin == plugin).collect();
        all.reverse();
        all.truncate(most);
        all
    }

    fn component(&self, plugin: &str, sha256: &str) -> PathBuf {
        self.folder.join(plugin).join(format!("{sha256}.wasm"))
    }

    /// Writes a file whole or not at all, on the disk when it returns.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = path.parent().unwrap_or(&self.folder);
        self.prepare(folder)?;
        let partial = path.with_extension("partial");
        let write = || {
            let mut file = File::create(&partial)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&partial, path)?;
            File::open(folder)?.sync_all()
        };
        write().inspect_err(|_| {
            // What is left of it is in the way, at most.
            let _ = fs::remove_file(&partial);
        })
    }

    fn prepare(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        match self.folder.parent() {
            // Nothing of it is for git.
            Some(built) => fs::write(built.join(".gitignore"), "*\n"),
            None => Ok(()),
        }
    }

    fn forget_oldest(&self, plugin: &str, live: &str) {
        let Ok(entries) = fs::read_dir(self.folder.join(plugin)) else { return };
        let component = |entry: io::Result<fs::DirEntry>| {
            let path = entry.ok()?.path();
            let is_other = path.extension()? == "wasm" && path.file_stem()? != live;
            Some((path.metadata().ok()?.modified().ok()?, path)).filter(|_| is_other)
        };
        let mut others: Vec<_> = entries.filter_map(component).collect();
        others.sort();
        let too_many = (others.len() + 1).saturating_sub(self.most.max(1));
        for (_, path) in others.into_iter().take(too_many) {
            // One that stays only takes room.
            let _ = fs::remove_file(path.with_extension("sig"));
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(most: usize) -> (tempfile::TempDir, Kept) {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::new(folder.path(), most);
        (folder, kept)
    }

    #[test]
    fn what_was_made_live_is_live_until_another_file_is_configured() {
        let (_folder, kept) = kept(5);
        assert_eq!(kept.live("room", "c"), None);
        kept.put("room", "a", b"wasm", Some(b"signature")).unwrap();
        assert_eq!(kept.live("room", "c"), None, "it is only kept yet");
        kept.point("room", "a", "c").unwrap();
        let live = kept.live("room", "c").unwrap();
        assert_eq!(fs::read(live.path).unwrap(), b"wasm");
        assert_eq!(live.signature.as_deref(), Some(&b"signature"[..]));
        assert_eq!(kept.live("room", "d"), None, "another file is configured");
        kept.point("room", "c", "c").unwrap();
        kept.point("room", "c", "c").unwrap();
        assert_eq!(kept.live("room", "c"), None, "back to the configured one");
    }

    #[test]
    fn the_oldest_versions_go_and_the_live_one_stays() {
        let (folder, kept) = kept(2);
        for version in ["a", "b", "c", "d"] {
            kept.put("room", version, b"wasm", None).unwrap();
            kept.point("room", version, "0").unwrap();
        }
        let versions = fs::read_dir(folder.path().join(".millrace/versions/room")).unwrap();
        let wasm = versions.filter(|e| e.as_ref().unwrap().path().extension().unwrap() == "wasm");
        assert_eq!(wasm.count(), 2);
        assert!(kept.live("room", "0").unwrap().path.ends_with("d.wasm"));
    }

    #[test]
    fn history_is_read_as_far_as_it_was_written() {
        let (folder, kept) = kept(2);
        assert_eq!(kept.history("room", 9), []);
        let exchange = |plugin: &str, to: &str| Exchange {
            at_ms: 7,
            plugin: plugin.to_owned(),
            from: "a".to_owned(),
            to: to.to_owned(),
            by: "ada".to_owned(),
            outcome: "live".to_owned(),
            canary: None,
            why: None,
        };
        for (plugin, to) in [("room", "b"), ("other", "x"), ("room", "c")] {
            kept.note(&exchange(plugin, to)).unwrap();
        }
        let path = folder.path().join(".millrace/versions/history.jsonl");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"{\"at_ms\":7,\"plu").unwrap();
        assert_eq!(kept.history("room", 9), [exchange("room", "c"), exchange("room", "b")]);
        assert_eq!(kept.history("room", 1), [exchange("room", "c")]);
    }

    #[test]
    fn what_cannot_be_written_changes_nothing() {
        let (folder, kept) = kept(5);
        kept.put("room", "a", b"wasm", None).unwrap();
        kept.point("room", "a", "c").unwrap();
        // A folder where the file is to be written: as good as a full disk.
        fs::create_dir(folder.path().join(".millrace/versions/room/b.partial")).unwrap();
        assert!(kept.put("room", "b", b"wasm", None).is_err());
        assert!(kept.live("room", "c").unwrap().path.ends_with("a.wasm"));
    }
}
