//! The app's page: files of `[static]`, and which of them nobody gets.
//!
//! A file is opened first, and looked at then: what is served is what was looked
//! at, whatever becomes of its name meanwhile.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use tower_http::services::ServeFile;

use super::http::{Body, text};
use crate::config::{CONFIG_FILE, StaticFiles};
use crate::server::Shared;

/// Opens nothing but the name: no FIFO waits for its writer, no device notices.
#[cfg(target_os = "linux")]
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const LOOK: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC);

/// What is at a URL.
enum Found {
    File(Opened),
    /// A folder, asked for without the `/` at its end.
    Folder,
    Nothing,
}

/// A regular file, held open.
struct Opened {
    file: OwnedFd,
    media_type: mime_guess::Mime,
}

/// Answers a request for a file.
pub(super) async fn respond(request: Request<Incoming>, shared: &Arc<Shared>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here\n");
    }
    let (path, looking) = (request.uri().path().to_owned(), Arc::clone(shared));
    let found = tokio::task::spawn_blocking(move || find(&path, &looking.static_files)).await;
    let result = match found.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Found::File(opened)) => serve(request, &opened).await,
        Ok(Found::Folder) => Ok(redirect(&request)),
        Ok(Found::Nothing) => return text(StatusCode::NOT_FOUND, "not found\n"),
        Err(error) => Err(error),
    };
    let mut response = match result {
        Ok(response) => response,
        Err(error) => {
            tracing::warn!(%error, "failed to read a static file");
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n");
        }
    };
    let headers = response.headers_mut();
    // A page changes with its plugin: browsers ask each time.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    for (name, value) in &shared.static_files.headers {
        // What is no header was refused when the configuration was read.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// Types, ranges and conditions are tower-http's.
async fn serve(request: Request<Incoming>, opened: &Opened) -> io::Result<Response<Body>> {
    let of_process = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
    let path = format!("{of_process}/{}", opened.file.as_raw_fd());
    let mut file = ServeFile::new_with_mime(path, &opened.media_type);
    file.try_call(request).await.map(|response| response.map(BodyExt::boxed_unsync))
}

/// To the same with a `/`, on this server.
fn redirect(request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().trim_start_matches('/');
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "");
    if let Ok(location) = HeaderValue::try_from(format!("/{path}/{query}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn find(url: &str, files: &StaticFiles) -> io::Result<Found> {
    if let Some(path) = files.files.get(url) {
        // The operator's own: they may be anywhere.
        return Ok(match look(path)? {
            Some((file, FileType::RegularFile)) => Found::File(Opened::new(file, path)),
            _ => Found::Nothing,
        });
    }
    let (Some(dir), Some(below)) = (&files.dir, below(url)) else { return Ok(Found::Nothing) };
    let Ok(dir) = fs::canonicalize(dir) else { return Ok(Found::Nothing) };
    let (path, is_folder) = (dir.join(below), url.ends_with('/'));
    let (path, found) = match look(&path)? {
        Some((_, FileType::Directory)) if is_folder => {
            let index = path.join("index.html");
            let found = look(&index)?;
            (index, found)
        }
        Some((file, FileType::Directory)) => {
            let is_open = is_open(&file, &path, &dir, files)?;
            return Ok(if is_open { Found::Folder } else { Found::Nothing });
        }
        // Only a folder has a `/` behind it.
        Some(_) if is_folder => return Ok(Found::Nothing),
        found => (path, found),
    };
    Ok(match found {
        Some((file, FileType::RegularFile)) if is_open(&file, &path, &dir, files)? => {
            Found::File(Opened::new(file, &path))
        }
        _ => Found::Nothing,
    })
}

/// The path below the folder; `None` when no URL leads to it: a part of it begins
/// with a dot, which `..` does, too.
fn below(url: &str) -> Option<PathBuf> {
    let path = percent_encoding::percent_decode_str(url).decode_utf8().ok()?;
    let parts = || path.split('/').filter(|part| !part.is_empty());
    let is_open = !path.contains('\0') && parts().all(|part| !part.starts_with('.'));
    is_open.then(|| parts().collect())
}

/// Opens what is there, to look at it; `None` if nothing is.
fn look(path: &Path) -> io::Result<Option<(OwnedFd, FileType)>> {
    match open(path, LOOK, Mode::empty()) {
        Ok(file) => {
            let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
            Ok(Some((file, kind)))
        }
        Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO) => {
            Err(io::Error::last_os_error())
        }
        Err(_) => Ok(None),
    }
}

/// Whether what was opened is in the folder and no secret, wherever links led.
fn is_open(file: &OwnedFd, path: &Path, dir: &Path, files: &StaticFiles) -> io::Result<bool> {
    let real = real_path(file, path)?;
    let Ok(below) = real.strip_prefix(dir) else { return Ok(false) };
    let hides = |part: Component<'_>| {
        let name = part.as_os_str();
        name.as_encoded_bytes().starts_with(b".") || name == CONFIG_FILE
    };
    if below.components().any(hides) {
        return Ok(false);
    }
    // By what they are, not by their names: there may be more of those.
    let found = fstat(file)?;
    let is_same = |hidden: &PathBuf| {
        rustix::fs::stat(hidden)
            .is_ok_and(|hidden| (hidden.st_dev, hidden.st_ino) == (found.st_dev, found.st_ino))
    };
    Ok(!files.hidden.iter().any(is_same))
}

/// Where an open file is, as the system says.
#[cfg(target_os = "linux")]
fn real_path(file: &OwnedFd, _path: &Path) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn real_path(_file: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

impl Opened {
    fn new(file: OwnedFd, path: &Path) -> Self {
        Self { file, media_type: mime_guess::from_path(path).first_or_octet_stream() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    /// An app whose page has something of everything.
    fn app() -> (TempDir, StaticFiles) {
        let app = tempfile::tempdir().unwrap();
        let at = |path: &str| app.path().join(path);
        for (path, text) in [
            ("web/index.html", "index"),
            ("web/deep/index.html", "deep"),
            ("web/a b.txt", "space"),
            ("web/.env", "secret"),
            ("web/.git/config", "secret"),
            ("web/other/millrace.toml", "secret"),
            ("web/.well-known/x", "secret"),
            ("outside.txt", "secret"),
            ("plugin.wasm", "secret"),
        ] {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), text).unwrap();
        }
        symlink("../outside.txt", at("web/out.txt")).unwrap();
        symlink(app.path(), at("web/up")).unwrap();
        symlink(".env", at("web/env.txt")).unwrap();
        symlink("index.html", at("web/same.html")).unwrap();
        symlink("loop", at("web/loop")).unwrap();
        fs::hard_link(at("plugin.wasm"), at("web/code.bin")).unwrap();
        let fifo = rustix::fs::mknodat(
            rustix::fs::CWD,
            at("web/fifo"),
            FileType::Fifo,
            Mode::from_raw_mode(0o644),
            0,
        );
        fifo.unwrap();
        let files = StaticFiles {
            dir: Some(at("web")),
            files: BTreeMap::from([
                ("/own.txt".to_owned(), at("outside.txt")),
                ("/dot".to_owned(), at("web/.env")),
                ("/device".to_owned(), PathBuf::from("/dev/zero")),
                ("/folder".to_owned(), at("web")),
            ]),
            hidden: vec![at("plugin.wasm"), at("gone.wasm")],
            ..StaticFiles::default()
        };
        (app, files)
    }

    fn found(url: &str, files: &StaticFiles) -> Option<String> {
        match find(url, files).unwrap() {
            Found::File(opened) => {
                let path = format!("/proc/self/fd/{}", opened.file.as_raw_fd());
                Some(fs::read_to_string(path).unwrap())
            }
            Found::Folder => Some("folder".to_owned()),
            Found::Nothing => None,
        }
    }

    #[test]
    fn what_is_in_the_folder_is_found() {
        let (_app, files) = app();
        for (url, expected) in [
            ("/", "index"),
            ("/index.html", "index"),
            ("//index.html", "index"),
            ("/deep/", "deep"),
            ("/deep", "folder"),
            ("/a%20b.txt", "space"),
            ("/same.html", "index"),
            ("/own.txt", "secret"),
            ("/dot", "secret"),
        ] {
            assert_eq!(found(url, &files).as_deref(), Some(expected), "{url}");
        }
    }

    #[test]
    fn nothing_else_is() {
        let (_app, files) = app();
        for url in [
            "/.env",
            "/%2eenv",
            "/.git/config",
            "/.well-known/x",
            "/env.txt",
            "/out.txt",
            "/up",
            "/up/",
            "/up/outside.txt",
            "/../outside.txt",
            "/deep/../index.html",
            "/other/millrace.toml",
            "/code.bin",
            "/fifo",
            "/device",
            "/folder",
            "/loop",
            "/index.html/",
            "/index.html/x",
            "/other/",
            "/x%00",
            "/%ff",
        ] {
            assert_eq!(found(url, &files), None, "{url}");
        }
    }

    #[test]
    fn what_was_looked_at_is_what_is_served() {
        let (app, files) = app();
        let Found::File(opened) = find("/index.html", &files).unwrap() else { panic!() };
        let index = app.path().join("web/index.html");
        fs::remove_file(&index).unwrap();
        symlink("../outside.txt", &index).unwrap();
        let path = format!("/proc/self/fd/{}", opened.file.as_raw_fd());
        assert_eq!(fs::read_to_string(path).unwrap(), "index");
        assert_eq!(found("/index.html", &files), None);
    }
}
