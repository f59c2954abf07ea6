//! Compiled code on disk, so that a plugin is compiled once.
//!
//! Compiled code is trusted as the server itself is, so it never comes from
//! outside: the folder belongs to this user alone, and a file that fails its
//! checksum is compiled anew.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tracing::{debug, warn};
use wasmtime::component::Component;

/// A folder of compiled components, named by their content and the engine.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    fingerprint: u64,
}

/// Size of the checksum in front of the code.
const DIGEST_BYTES: usize = 32;

impl Cache {
    /// Opens `$XDG_CACHE_HOME/millrace` or `~/.cache/millrace`. `None`, and a
    /// line in the log, when there is no folder private to this user.
    pub(super) fn open(fingerprint: u64) -> Option<Self> {
        let base = std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
        let folder = base.join("millrace");
        match private_folder(&folder) {
            Ok(()) => Some(Self { folder, fingerprint }),
            Err(error) => {
                warn!(folder = %folder.display(), %error, "compiled code will not be kept");
                None
            }
        }
    }

    /// The compiled form of `wasm`, if it is here and unharmed.
    pub(super) fn get(&self, engine: &wasmtime::Engine, wasm: &[u8]) -> Option<Component> {
        let path = self.path(wasm);
        let file = fs::read(&path).ok()?;
        let (digest, code) = file.split_at_checked(DIGEST_BYTES)?;
        if Sha256::digest(code).as_slice() != digest {
            warn!(path = %path.display(), "compiled code is damaged and will be made anew");
            return None;
        }
        match deserialize(engine, code) {
            Ok(component) => Some(component),
            Err(error) => {
                debug!(path = %path.display(), %error, "compiled code does not fit this server");
                None
            }
        }
    }

    /// Keeps the compiled form of `wasm`. A failure costs only time later.
    pub(super) fn put(&self, wasm: &[u8], component: &Component) {
        let written = component
            .serialize()
            .map_err(io::Error::other)
            .and_then(|code| write_whole(&self.path(wasm), &code));
        if let Err(error) = written {
            warn!(folder = %self.folder.display(), %error, "compiled code was not kept");
        }
    }

    fn path(&self, wasm: &[u8]) -> PathBuf {
        let digest = Sha256::digest(wasm);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(format!("{hex}-{:016x}.cwasm", self.fingerprint))
    }
}

#[expect(unsafe_code, reason = "the only way to load compiled code")]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the code comes from `Component::serialize` of this program: the
    // folder is private to this user and the checksum has been verified.
    unsafe { Component::deserialize(engine, code) }
}

/// Makes the folder if need be, and checks that only this user can write to it.
fn private_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let metadata = fs::symlink_metadata(folder)?;
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_dir() || !own || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the folder must belong to this user and be writable by no other (chmod 700)",
        ));
    }
    Ok(())
}

/// Writes under another name first: a reader never sees half a file.
fn write_whole(path: &Path, code: &[u8]) -> io::Result<()> {
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    let mut file =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    drop(file);
    fs::rename(&partial, path)
}
