//! Static files: the files of `[static]`, and the rules by which others are not served.
//!
//! A file is opened first, and checked then: what is served is what was checked, even if its name
//! leads to another file by then.

use std::convert::Infallible;
use std::io::SeekFrom;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use futures_util::TryStreamExt;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName,
    HeaderValue, LAST_MODIFIED, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::conditions::{Selected, Version};
use super::requests;
use crate::config::{CONFIG_FILE, StaticFiles};
use crate::http::{self, Body, text};
use crate::node::Node;

/// Flags that open only the name: a FIFO does not wait for its writer, and a device does not
/// notice.
#[cfg(target_os = "linux")]
const OPEN_FLAGS: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const OPEN_FLAGS: OFlags = OFlags::NONBLOCK.union(OFlags::CLOEXEC);

/// The bytes that are read of a file at once.
const PIECE_BYTES: usize = 64 * 1024;

/// The thing that is at a URL.
enum Found {
    File(Opened),
    /// A folder whose URL has no `/` at its end.
    Folder,
    Nothing,
}

/// A regular file, held open.
struct Opened {
    file: OwnedFd,
    version: Version,
    media_type: String,
}

/// Answers a request for a file.
pub(super) async fn respond(request: Request<Incoming>, node: &Arc<Node>) -> Response<Body> {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => match answer(&request, node).await {
            Ok(response) => response,
            Err(error) => {
                tracing::warn!(%error, "failed to read a static file");
                return text(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n");
            }
        },
        // A page of another origin may ask first whether its request is allowed (CORS).
        Method::OPTIONS => http::options(&ALLOWED),
        _ => return http::not_allowed(&ALLOWED),
    };
    if response.status() == StatusCode::NOT_FOUND {
        return response;
    }
    let headers = response.headers_mut();
    // A page changes with its plugin, so browsers ask each time whether theirs is current.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    for (name, value) in &node.static_files.headers {
        // What is not a valid header was refused when the configuration was read.
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    response
}

/// The methods that are allowed for files, besides OPTIONS.
const ALLOWED: [Method; 2] = [Method::GET, Method::HEAD];

async fn answer(request: &Request<Incoming>, node: &Arc<Node>) -> io::Result<Response<Body>> {
    let (path, looking) = (request.uri().path().to_owned(), Arc::clone(node));
    let found = tokio::task::spawn_blocking(move || find(&path, &looking.static_files)).await;
    match found.unwrap_or_else(|error| Err(io::Error::other(error)))? {
        Found::File(opened) => serve(request, &opened).await,
        Found::Folder => Ok(redirect(request)),
        Found::Nothing => Ok(text(StatusCode::NOT_FOUND, "not found\n")),
    }
}

/// Answers with the file, the wanted part of it, or a status without either.
async fn serve(request: &Request<Incoming>, opened: &Opened) -> io::Result<Response<Body>> {
    let Opened { version, media_type, .. } = opened;
    let selected = version.select(request.method(), request.headers());
    let mut response = match &selected {
        Selected::PreconditionFailed => {
            return Ok(text(StatusCode::PRECONDITION_FAILED, "it has changed\n"));
        }
        Selected::RangeNotSatisfiable => {
            let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, "it has no such range\n");
            insert(&mut response, CONTENT_RANGE, &format!("bytes */{}", version.len));
            return Ok(response);
        }
        Selected::NotModified => empty(StatusCode::NOT_MODIFIED),
        Selected::Bytes { part, .. } => empty(match part {
            true => StatusCode::PARTIAL_CONTENT,
            false => StatusCode::OK,
        }),
    };
    insert(&mut response, ETAG, &version.etag);
    if let Some(modified) = version.modified {
        insert(&mut response, LAST_MODIFIED, &httpdate::fmt_http_date(modified));
    }
    let Selected::Bytes { range, part } = selected else { return Ok(response) };
    let len = range.end - range.start;
    insert(&mut response, CONTENT_TYPE, media_type);
    insert(&mut response, CONTENT_LENGTH, &len.to_string());
    insert(&mut response, ACCEPT_RANGES, "bytes");
    if part {
        let last = range.end.saturating_sub(1);
        let content_range = format!("bytes {}-{last}/{}", range.start, version.len);
        insert(&mut response, CONTENT_RANGE, &content_range);
    }
    if request.method() == Method::GET {
        *response.body_mut() = opened.body(range.start, len).await?;
    }
    Ok(response)
}

fn empty(status: StatusCode) -> Response<Body> {
    let never = |never: Infallible| match never {};
    let mut response = Response::new(Empty::new().map_err(never).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn insert(response: &mut Response<Body>, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Redirects to the same URL with a `/` at its end. The location is relative, as a proxy may have
/// removed a prefix of the path.
fn redirect(request: &Request<Incoming>) -> Response<Body> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let query = requests::query_suffix(request.uri().query().unwrap_or_default());
    let mut response = text(StatusCode::TEMPORARY_REDIRECT, "");
    insert(&mut response, LOCATION, &format!("./{name}/{query}"));
    response
}

fn find(url: &str, files: &StaticFiles) -> io::Result<Found> {
    if let Some(path) = files.files.get(url) {
        // Single files are named by the operator, so they may be anywhere.
        return Ok(match open_path(path)? {
            Some((file, FileType::RegularFile)) => Found::File(Opened::new(file, path)?),
            _ => Found::Nothing,
        });
    }
    let (Some(dir), Some(below)) = (&files.dir, below(url)) else { return Ok(Found::Nothing) };
    let Ok(dir) = fs::canonicalize(dir) else { return Ok(Found::Nothing) };
    let (path, is_folder) = (dir.join(below), url.ends_with('/'));
    let (path, found) = match open_path(&path)? {
        Some((_, FileType::Directory)) if is_folder => {
            let index = path.join("index.html");
            let found = open_path(&index)?;
            (index, found)
        }
        Some((file, FileType::Directory)) => {
            let is_public = is_public(&file, &path, &dir, files)?;
            return Ok(if is_public { Found::Folder } else { Found::Nothing });
        }
        // Only the URL of a folder may have a `/` at its end.
        Some(_) if is_folder => return Ok(Found::Nothing),
        found => (path, found),
    };
    Ok(match found {
        Some((file, FileType::RegularFile)) if is_public(&file, &path, &dir, files)? => {
            Found::File(Opened::new(file, &path)?)
        }
        _ => Found::Nothing,
    })
}

/// The path below the folder. `None` if a part of it begins with a dot, as `..` does too: no URL
/// leads there.
fn below(url: &str) -> Option<PathBuf> {
    let path = percent_encoding::percent_decode_str(url).decode_utf8().ok()?;
    let parts = || path.split('/').filter(|part| !part.is_empty());
    let is_public = !path.contains('\0') && parts().all(|part| !part.starts_with('.'));
    is_public.then(|| parts().collect())
}

/// Opens a path to look at its type; `None` if nothing can be opened.
fn open_path(path: &Path) -> io::Result<Option<(OwnedFd, FileType)>> {
    match open(path, OPEN_FLAGS, Mode::empty()) {
        Ok(file) => {
            let kind = FileType::from_raw_mode(fstat(&file)?.st_mode);
            Ok(Some((file, kind)))
        }
        Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::IO)) => Err(error.into()),
        // There is no such name, or the server may not open it.
        Err(_) => Ok(None),
    }
}

/// Whether an open file is inside the folder and not hidden, wherever links have led.
fn is_public(file: &OwnedFd, path: &Path, dir: &Path, files: &StaticFiles) -> io::Result<bool> {
    let real = real_path(file, path)?;
    let Ok(below) = real.strip_prefix(dir) else { return Ok(false) };
    let hides = |part: Component<'_>| {
        let name = part.as_os_str();
        name.as_encoded_bytes().starts_with(b".") || name == CONFIG_FILE
    };
    if below.components().any(hides) {
        return Ok(false);
    }
    // Hidden files are compared by device and inode, as a file may have several names.
    let found = fstat(file)?;
    let is_same = |hidden: &PathBuf| {
        rustix::fs::stat(hidden)
            .is_ok_and(|hidden| (hidden.st_dev, hidden.st_ino) == (found.st_dev, found.st_ino))
    };
    Ok(!files.hidden.iter().any(is_same))
}

/// The path of an open file, as the system knows it.
#[cfg(target_os = "linux")]
fn real_path(file: &OwnedFd, _path: &Path) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}

#[cfg(not(target_os = "linux"))]
fn real_path(_file: &OwnedFd, path: &Path) -> io::Result<PathBuf> {
    fs::canonicalize(path)
}

impl Opened {
    fn new(file: OwnedFd, path: &Path) -> io::Result<Self> {
        let version = Version::new(&fstat(&file)?);
        let media_type = mime_guess::from_path(path).first_or_octet_stream();
        // RFC 9239 says which name JavaScript has.
        let media_type = match (media_type.type_().as_str(), media_type.subtype().as_str()) {
            (_, "javascript") => "text/javascript; charset=utf-8".to_owned(),
            ("text", _) => format!("{media_type}; charset=utf-8"),
            _ => media_type.to_string(),
        };
        Ok(Self { file, version, media_type })
    }

    /// The body of `len` bytes that begin at `from`.
    async fn body(&self, from: u64, len: u64) -> io::Result<Body> {
        let of_process = if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" };
        let path = format!("{of_process}/{}", self.file.as_raw_fd());
        let mut file = tokio::fs::File::open(path).await?;
        file.seek(SeekFrom::Start(from)).await?;
        let pieces = ReaderStream::with_capacity(file.take(len), PIECE_BYTES);
        Ok(StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync())
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
