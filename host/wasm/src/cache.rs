//! The cache of compiled code on disk, so that a plugin is compiled once.
//!
//! Compiled code is trusted as the server itself is, so it never comes from outside: the folder
//! belongs to this user alone and so does each file. That is asked of the open file, not of its
//! name, which somebody may give to another file. A file that fails its checksum is compiled anew.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Stat, Timestamps, UTIME_NOW, UTIME_OMIT, fstat, futimens,
    openat, renameat, statat, unlinkat,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tracing::{debug, info, warn};
use wasmtime::component::Component;

/// A folder of compiled components, which are named by their content and the engine.
#[derive(Debug)]
pub(super) struct Cache {
    /// The open folder: another one that gets its name later is not used.
    folder: OwnedFd,
    /// Its path, for messages to people.
    path: PathBuf,
    fingerprint: u64,
    max_bytes: u64,
}

/// `[cache]`: compiled code on disk.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// The folder; by default it is in the user's cache folder.
    pub dir: Option<PathBuf>,
    /// The bytes of all files together; above that, the files that were used least recently are
    /// removed.
    pub max_bytes: u64,
}

/// The advice for a folder that cannot be used.
const SET_DIR: &str = "set cache.dir to a folder that the server's user alone may write to";

/// The bytes of the checksum (SHA-256) in front of the code.
const DIGEST_BYTES: usize = 32;
/// The suffix of files of compiled code.
const SUFFIX: &str = ".cwasm";
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

impl Cache {
    /// Opens the folder. If there is none that is private to this user, it is `None`, and the log
    /// says why.
    pub(super) fn open(config: &CacheConfig, fingerprint: u64) -> Option<Self> {
        let Some(path) = config.dir.clone().or_else(user_folder) else {
            warn!(
                "compiled code will not be kept, as there is no folder for it; set cache.dir, \
                 XDG_CACHE_HOME or HOME"
            );
            return None;
        };
        let max_bytes = config.max_bytes;
        match private_folder(&path) {
            Ok(folder) => Some(Self { folder, path, fingerprint, max_bytes }),
            Err(error) => {
                let folder = path.display();
                warn!(%folder, %error, "compiled code will not be kept; {SET_DIR}");
                None
            }
        }
    }

    /// The compiled form of `wasm`; `None` if it is not here, is damaged, or does not fit this
    /// engine.
    pub(super) fn get(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> Option<Component> {
        let name = self.name(wasm);
        let code = match self.read(&name) {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                let folder = self.path.display();
                warn!(%folder, name, %error, "compiled code is not trusted and will be made anew");
                return None;
            }
        };
        match deserialize(engine, &code) {
            Ok(component) => Some(component),
            Err(error) => {
                debug!(name, %error, "compiled code does not fit this server");
                None
            }
        }
    }

    /// Writes the compiled form of `wasm`; false if it could not. A failure only costs time later.
    pub(super) fn put(&self, wasm: &[u8], code: &[u8]) -> bool {
        let name = self.name(wasm);
        let written = self.write(&name, code).and_then(|()| self.evict(&name));
        if let Err(error) = &written {
            warn!(folder = %self.path.display(), %error, "compiled code was not kept; {SET_DIR}");
        }
        written.is_ok()
    }

    /// The name of the file for `wasm` and this engine.
    fn name(&self, wasm: &[u8]) -> String {
        let digest = Sha256::digest(wasm);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}-{:016x}{SUFFIX}", self.fingerprint)
    }

    /// Reads a file and checks its owner, its mode and its checksum.
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let denied = |why: &str| io::Error::new(io::ErrorKind::PermissionDenied, why.to_owned());
        let mut file = File::from(openat(&self.folder, name, FILE, Mode::empty())?);
        let found = fstat(&file)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(denied("is no regular file"));
        }
        if !is_own(&found) {
            return Err(denied("belongs to another user, or others may write to it"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found.st_size).unwrap_or_default());
        file.read_to_end(&mut bytes)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "is damaged");
        let (digest, code) = bytes.split_at_checked(DIGEST_BYTES).ok_or_else(damaged)?;
        if Sha256::digest(code).as_slice() != digest {
            return Err(damaged());
        }
        // It is in use, so others are removed before it. An error only costs time later.
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let same = rustix::fs::Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
        let _ = futimens(&file, &Timestamps { last_access: same, last_modification: now });
        bytes.drain(..DIGEST_BYTES);
        Ok(bytes)
    }

    /// Writes under another name first, so that a reader never sees half a file.
    fn write(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let partial = format!("{name}.{}.partial", std::process::id());
        // It may be left of an earlier process with this number.
        let _ = unlinkat(&self.folder, &partial, AtFlags::empty());
        let flags = FILE.union(OFlags::WRONLY).union(OFlags::CREATE).union(OFlags::EXCL);
        let file = openat(&self.folder, &partial, flags, Mode::RUSR.union(Mode::WUSR))?;
        let write = || {
            let mut file = File::from(file);
            file.write_all(&Sha256::digest(code))?;
            file.write_all(code)?;
            drop(file);
            Ok(renameat(&self.folder, &partial, &self.folder, name)?)
        };
        write().inspect_err(|_: &io::Error| {
            let _ = unlinkat(&self.folder, &partial, AtFlags::empty());
        })
    }

    /// Removes the files that were used least recently until all fit, but not the `newest`.
    fn evict(&self, newest: &str) -> io::Result<()> {
        let (mut files, mut bytes) = (Vec::new(), 0);
        for entry in Dir::read_from(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let is_code = |suffix: &str| name.to_bytes().ends_with(suffix.as_bytes());
            if !is_code(SUFFIX) && !is_code(".partial") {
                continue;
            }
            // Another server may have removed it meanwhile.
            let Ok(found) = statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let size = u64::try_from(found.st_size).unwrap_or_default();
            bytes += size;
            if name.to_bytes() != newest.as_bytes() {
                files.push(((found.st_mtime, found.st_mtime_nsec), name.to_owned(), size));
            }
        }
        files.sort();
        for (_, name, size) in files {
            if bytes <= self.max_bytes {
                break;
            }
            if let Err(error) = unlinkat(&self.folder, &name, AtFlags::empty()) {
                debug!(?name, %error, "compiled code stays, or has gone already");
                continue;
            }
            bytes -= size;
            let folder = self.path.display();
            info!(%folder, ?name, size, "compiled code gave way to newer");
        }
        Ok(())
    }
}

/// The default folder: `$XDG_CACHE_HOME/millrace` or `~/.cache/millrace`.
fn user_folder() -> Option<PathBuf> {
    in_cache(std::env::var_os("XDG_CACHE_HOME"), std::env::var_os("HOME"))
}

/// The default folder for these variables. A relative or empty path is ignored, as the XDG Base
/// Directory Specification says.
fn in_cache(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let cache = xdg.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".cache")))?;
    Some(cache.join("millrace"))
}

#[expect(unsafe_code, reason = "the only way to load compiled code")]
pub(super) fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code comes from wasmtime in this program: out of a file that was opened in
    // a folder that is private to this user, is private to this user itself, and whose
    // checksum has been verified; or from a process that this one has started of its own
    // file, over a pipe that nobody else has.
    unsafe { Component::deserialize(engine, code) }
}

/// Makes the folder if need be, and opens it, if only this user can write to it, and only this user
/// and root can put another in its place.
fn private_folder(path: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let path = path.canonicalize()?;
    let mut folder = rustix::fs::open("/", FOLDER, Mode::empty())?;
    for part in path.iter().skip(1) {
        check_parent(&fstat(&folder)?, part)?;
        folder = openat(&folder, part, FOLDER, Mode::empty())?;
    }
    if is_own(&fstat(&folder)?) {
        return Ok(folder);
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        "the folder must belong to this user and be writable by no other (chmod 700)",
    ))
}

/// An error if others can replace `part` in the folder that was `found`.
fn check_parent(found: &Stat, part: &OsStr) -> io::Result<()> {
    let is_trusted = found.st_uid == 0 || found.st_uid == own_uid();
    // In a sticky folder nobody can rename files of others.
    let is_shut = found.st_mode & 0o002 == 0 || found.st_mode & 0o1000 != 0;
    if is_trusted && is_shut {
        return Ok(());
    }
    let problem = format!(
        "the folder that {} is in belongs to another user, or all may write to it; set \
         XDG_CACHE_HOME to a folder of this user",
        part.display()
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, problem))
}

/// Whether a file belongs to this user and no other may write to it.
fn is_own(found: &Stat) -> bool {
    found.st_uid == own_uid() && found.st_mode & 0o022 == 0
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_folder_is_an_absolute_one() {
        for (xdg, home, expected) in [
            (Some("/x"), Some("/h"), Some("/x/millrace")),
            (Some(""), Some("/h"), Some("/h/.cache/millrace")),
            (Some("x"), Some("/h"), Some("/h/.cache/millrace")),
            (None, Some("/h"), Some("/h/.cache/millrace")),
            (None, Some(""), None),
            (None, None, None),
        ] {
            let found = in_cache(xdg.map(OsString::from), home.map(OsString::from));
            assert_eq!(found, expected.map(PathBuf::from), "{xdg:?} {home:?}");
        }
    }

    fn cache(max_bytes: u64) -> (TempDir, Cache) {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("cache");
        let folder = private_folder(&path).unwrap();
        (parent, Cache { folder, path, fingerprint: 7, max_bytes })
    }

    /// Reads the code of `a`.
    fn read(cache: &Cache) -> Result<Vec<u8>, String> {
        cache.read(&cache.name(b"a")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_was_written_is_read() {
        let (_parent, cache) = cache(1_000);
        assert!(cache.put(b"a", b"code") && cache.put(b"a", b"code of a"));
        assert_eq!(read(&cache).unwrap(), b"code of a");
        let file = fs::metadata(cache.path.join(cache.name(b"a"))).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&cache.path).unwrap().count(), 1, "nothing else stays");
    }

    #[test]
    fn a_file_that_others_could_have_made_is_not_trusted() {
        let (parent, cache) = cache(1_000);
        let file = cache.path.join(cache.name(b"a"));
        cache.put(b"a", b"code");
        let whole = fs::read(&file).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
        assert!(read(&cache).unwrap_err().contains("others may write"));
        fs::remove_file(&file).unwrap();
        fs::write(parent.path().join("elsewhere"), &whole).unwrap();
        symlink(parent.path().join("elsewhere"), &file).unwrap();
        read(&cache).unwrap_err();
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        read(&cache).unwrap_err();
        fs::remove_dir(&file).unwrap();
        fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(read(&cache).unwrap_err(), "is damaged");
        fs::write(&file, "short").unwrap();
        assert_eq!(read(&cache).unwrap_err(), "is damaged");
    }

    #[test]
    fn another_folder_in_its_place_changes_nothing() {
        let (parent, cache) = cache(1_000);
        cache.put(b"a", b"code");
        fs::rename(&cache.path, parent.path().join("moved")).unwrap();
        fs::create_dir(&cache.path).unwrap();
        let other = [&Sha256::digest(b"evil")[..], b"evil"].concat();
        fs::write(cache.path.join(cache.name(b"a")), other).unwrap();
        assert_eq!(read(&cache).unwrap(), b"code");
    }

    #[test]
    fn a_folder_that_others_can_exchange_is_not_used() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("open/cache");
        private_folder(&path).unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
        let open = parent.path().join("open");
        set(&open, 0o777);
        let error = private_folder(&path).unwrap_err().to_string();
        assert!(error.contains("the folder that cache is in"), "{error}");
        set(&open, 0o1777);
        private_folder(&path).unwrap();
        set(&path, 0o770);
        let error = private_folder(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
        set(&path, 0o700);
        if own_uid() == 0 {
            // As with `sudo -E`: the folder of a user, and a server of root.
            std::os::unix::fs::chown(&open, Some(1000), None).unwrap();
            private_folder(&path).unwrap_err();
        }
    }

    #[test]
    fn what_was_used_least_lately_gives_way() {
        let (_parent, cache) = cache(400);
        let touch = |wasm: &[u8], seconds| {
            let file = File::open(cache.path.join(cache.name(wasm))).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(at).unwrap();
        };
        for (second, wasm) in [b"a", b"b", b"c"].into_iter().enumerate() {
            cache.put(wasm, &[0; 100]);
            touch(wasm, second as u64);
        }
        read(&cache).unwrap();
        cache.put(b"d", &[0; 100]);
        let there = |wasm: &[u8]| cache.path.join(cache.name(wasm)).exists();
        assert_eq!([b"a", b"b", b"c", b"d"].map(|w| there(w)), [true, false, true, true]);
        cache.put(b"e", &[0; 1_000]);
        assert_eq!([b"a", b"c", b"d", b"e"].map(|w| there(w)), [false, false, false, true]);
    }
}
