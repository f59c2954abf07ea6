//! The versions of plugins on disk: which was made live while the server ran, so
//! that it is live after a restart, and what became of all of them.
//!
//! ```text
//! versions/NAME/SHA256.wasm   a component, and beside it SHA256.sig
//! versions/NAME/live.json     which one is live, and in whose place
//! versions/history.jsonl      one line for each exchange
//! versions/server.lock        locked by the server that writes here
//! ```
//!
//! A file appears whole or not at all. `live.json` comes last: a server that is
//! killed in between starts with the version that was live before.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::history::{Exchange, ExchangeLog};

/// The versions of an app's plugins on disk, and the history of their exchanges.
#[derive(Debug)]
pub(crate) struct VersionStore {
    folder: PathBuf,
    /// The number of versions of one plugin that are kept (`swap.keep`); the oldest goes.
    most: usize,
    log: ExchangeLog,
    /// The lock that is held while something is written, with the lock file: it is locked from the
    /// first time on, as the folder is this server's then.
    lock: Mutex<Option<File>>,
}

/// A version on disk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredVersion {
    pub(crate) path: PathBuf,
    /// The SHA-256 that the component had when it was written.
    pub(crate) sha256: String,
    pub(crate) signature: Option<Vec<u8>>,
}

/// The content of `live.json`: which version is live.
#[derive(Debug, Serialize, Deserialize)]
struct LiveRecord {
    sha256: String,
    /// The SHA-256 of the configured file at that time: if another file is configured later, that
    /// one is live.
    configured: String,
    /// The SHA-256 of the version that was live before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}

/// The mode of folders: only this user can look into them.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

impl VersionStore {
    /// The store of an app, in `versions` below the folder for such files.
    pub(crate) fn new(app_folder: &Path, most: usize) -> Self {
        let folder = app_folder.join("versions");
        let log = ExchangeLog::new(folder.join("history.jsonl"));
        Self { folder, most, log, lock: Mutex::default() }
    }

    /// The folder of the store.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The version that was made live in place of the configured one. `None` if there is none, or
    /// another file is configured since.
    pub(crate) fn live(&self, plugin: &str, configured: &str) -> Option<StoredVersion> {
        let live = self.live_record(plugin)?;
        if live.configured != configured {
            info!(plugin, "another file is configured than before the last exchange");
            return None;
        }
        (live.sha256 != configured).then(|| self.version(plugin, &live.sha256))
    }

    /// A version that was put here. Its file may have been removed since.
    pub(crate) fn version(&self, plugin: &str, sha256: &str) -> StoredVersion {
        let path = self.component(plugin, sha256);
        let signature = fs::read(path.with_extension("sig")).ok();
        StoredVersion { path, sha256: sha256.to_owned(), signature }
    }

    /// The SHA-256 of the version that was live before this one went live last.
    pub(crate) fn version_before(&self, plugin: &str, sha256: &str) -> Option<String> {
        let live = self.live_record(plugin).filter(|live| live.sha256 == sha256);
        let from_history = || {
            let mut exchanges = self.history(plugin, usize::MAX).into_iter();
            exchanges.find(|e| e.outcome == "live" && e.to == sha256).map(|e| e.from)
        };
        let before = live.and_then(|live| live.before).or_else(from_history)?;
        Some(before).filter(|before| before != sha256 && is_sha256(before))
    }

    /// Writes a component and its signature, so that it can be made live.
    ///
    /// # Errors
    ///
    /// It could not be written, or another server uses the folder.
    pub(crate) fn put(
        &self,
        plugin: &str,
        sha256: &str,
        wasm: &[u8],
        signature: Option<&[u8]>,
    ) -> io::Result<()> {
        let _lock = self.lock()?;
        let path = self.component(plugin, sha256);
        self.prepare(path.parent().unwrap_or(&self.folder))?;
        if let Some(signature) = signature {
            write_whole(&path.with_extension("sig"), signature)?;
        }
        write_whole(&path, wasm)?;
        self.forget_oldest(plugin, sha256);
        Ok(())
    }

    /// Makes a version that was put here the live one after a restart, or the configured one.
    /// `before` is the version that a rollback makes live again.
    ///
    /// # Errors
    ///
    /// It could not be written, or another server uses the folder.
    pub(crate) fn set_live(
        &self,
        plugin: &str,
        sha256: &str,
        configured: &str,
        before: Option<&str>,
    ) -> io::Result<()> {
        let _lock = self.lock()?;
        let path = self.folder.join(plugin).join("live.json");
        if sha256 == configured && before.is_none() {
            return match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        self.prepare(&self.folder.join(plugin))?;
        let live = LiveRecord {
            sha256: sha256.to_owned(),
            configured: configured.to_owned(),
            before: before.map(str::to_owned),
        };
        write_whole(&path, &serde_json::to_vec(&live)?)?;
        self.forget_oldest(plugin, sha256);
        Ok(())
    }

    /// Adds an exchange to the history.
    ///
    /// # Errors
    ///
    /// It could not be written, or another server uses the folder.
    pub(crate) fn note(&self, exchange: &Exchange) -> io::Result<()> {
        let _lock = self.lock()?;
        self.log.note(exchange)
    }

    /// The last exchanges of a plugin, at most `most`, the newest first.
    pub(crate) fn history(&self, plugin: &str, most: usize) -> Vec<Exchange> {
        self.log.last(plugin, most)
    }

    /// The content of `live.json`; `None` if there is none, or it cannot be used, which is logged.
    fn live_record(&self, plugin: &str) -> Option<LiveRecord> {
        let path = self.folder.join(plugin).join("live.json");
        let read = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            read => read.and_then(|text| Ok(serde_json::from_slice::<LiveRecord>(&text)?)),
        };
        let path = path.display();
        match read {
            // The text becomes part of a path.
            Ok(live) if is_sha256(&live.sha256) => Some(live),
            Ok(live) => {
                warn!(%path, sha256 = live.sha256, "this is no SHA-256; the file is left aside");
                None
            }
            Err(error) => {
                warn!(%path, %error, "it cannot be told which version was live");
                None
            }
        }
    }

    /// The path of a component.
    fn component(&self, plugin: &str, sha256: &str) -> PathBuf {
        self.folder.join(plugin).join(format!("{sha256}.wasm"))
    }

    /// Locks the store, and at the first time the folder.
    ///
    /// # Errors
    ///
    /// Another server has locked the folder, or it cannot be written to.
    fn lock(&self) -> io::Result<MutexGuard<'_, Option<File>>> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_some() {
            return Ok(lock);
        }
        self.prepare(&self.folder)?;
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(false).mode(FILE_MODE);
        let file = options.open(self.folder.join("server.lock"))?;
        let path = self.folder.display();
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let problem = format!(
                    "another server keeps its versions in {path}; stop that one, or serve a copy \
                     of the app's folder"
                );
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, problem));
            }
            Err(TryLockError::Error(error)) => {
                warn!(%path, %error, "cannot be locked; no other server may use it");
            }
        }
        *lock = Some(file);
        Ok(lock)
    }

    /// Makes a folder of the store, which only this user can read, and a `.gitignore` beside it.
    fn prepare(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
        if fs::metadata(&self.folder)?.permissions().mode() & 0o077 != 0 {
            // It fails if the folder is of another user, who has to know.
            let _ = fs::set_permissions(&self.folder, Permissions::from_mode(FOLDER_MODE));
        }
        let ignored = self.folder.with_file_name(".gitignore");
        // None of these files is for git.
        if ignored.exists() { Ok(()) } else { fs::write(ignored, "*\n") }
    }

    /// Removes the oldest versions above `swap.keep`, but neither the newest, nor the live one, nor
    /// the one before that.
    fn forget_oldest(&self, plugin: &str, newest: &str) {
        let Ok(entries) = fs::read_dir(self.folder.join(plugin)) else { return };
        let live = self.live_record(plugin).map(|live| live.sha256);
        let before = live.as_deref().and_then(|live| self.version_before(plugin, live));
        let stays =
            |stem: &str| [Some(newest), live.as_deref(), before.as_deref()].contains(&Some(stem));
        let (mut stay, mut others) = (0, Vec::new());
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("wasm") if path.file_stem().and_then(|s| s.to_str()).is_some_and(stays) => {
                    stay += 1;
                }
                Some("wasm") => {
                    let written = path.metadata().and_then(|metadata| metadata.modified()).ok();
                    others.push((written, path));
                }
                // A server was killed while it wrote it.
                Some("partial") => drop(fs::remove_file(path)),
                _ => {}
            }
        }
        others.sort();
        let too_many = (others.len() + stay).saturating_sub(self.most).min(others.len());
        for (_, path) in others.drain(..too_many) {
            // A file that cannot be removed only takes room.
            let _ = fs::remove_file(path.with_extension("sig"));
            let _ = fs::remove_file(path);
        }
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Writes a file whole or not at all; it is on the disk when this returns.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let write = || {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(FILE_MODE);
        let mut file = options.open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    write().inspect_err(|_| {
        // A rest of it only takes room.
        let _ = fs::remove_file(&partial);
    })
}

#[cfg(test)]
mod tests;
