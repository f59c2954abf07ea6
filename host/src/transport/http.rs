//! HTTP requests: the socket's path, and the app's page.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use tower_http::services::{ServeDir, ServeFile};

use super::{handshake, pipelines};
use crate::dashboard::{self, Dashboard};
use crate::server::{Admitted, Realm, Shared, Stage};

/// The body of any response.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// When a client that finds the server starting or stopping may come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// Answers one request.
pub(super) async fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    admitted: Arc<Admitted>,
) -> Response<Body> {
    let path = request.uri().path();
    if path == "/health" || path == "/ready" || *shared.stage.borrow() != Stage::Ready {
        return unserved(&request, shared);
    }
    if path.strip_prefix(shared.socket.path.as_str()) == Some("/websocket") {
        return handshake::respond(request, peer, shared, admitted, Realm::App).await;
    }
    let below =
        |prefix| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some(below) = below("/pipelines") {
        return pipelines::respond(below.to_owned(), request, shared).await;
    }
    let below = below("/dashboard");
    match (below, &shared.dashboard) {
        (Some("/socket/websocket"), Some(_)) => {
            handshake::respond(request, peer, shared, admitted, Realm::Dashboard).await
        }
        (Some(below), Some(realm)) => dashboard(below, &request, &realm.dashboard),
        _ => page(request, shared).await,
    }
}

/// Answers a request of a monitor or load balancer, and any while clients are
/// not served: `/health` says that the process runs, `/ready` whether it serves.
pub(super) fn unserved(request: &Request<Incoming>, shared: &Shared) -> Response<Body> {
    let stage = *shared.stage.borrow();
    let text_of = format!("{}\n", stage.as_str());
    match (request.uri().path(), stage) {
        ("/health", _) => text(StatusCode::OK, "ok\n"),
        ("/ready", Stage::Ready) => text(StatusCode::OK, &text_of),
        _ => busy(COME_AGAIN, &text_of),
    }
}

/// 503, and when to come again. `after` is rounded up to seconds.
pub(super) fn busy(after: Duration, why: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// A short response in plain text.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    let never = |never: Infallible| match never {};
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(never).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

/// Answers a request for something below `/dashboard`.
fn dashboard(below: &str, request: &Request<Incoming>, dashboard: &Dashboard) -> Response<Body> {
    if below == "/data.json" {
        let query = request.uri().query().unwrap_or_default();
        let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
        if !dashboard.admits(token.as_ref().map(|(_, token)| token.as_ref())) {
            return text(StatusCode::FORBIDDEN, "give dashboard.token: ?token=…\n");
        }
        return typed("application/json", &dashboard.json());
    }
    match dashboard::asset(below.trim_end_matches('/')) {
        Some((media_type, content)) => typed(media_type, content),
        None => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Content of a type, which the browser asks for each time.
fn typed(media_type: &'static str, content: &str) -> Response<Body> {
    let mut response = text(StatusCode::OK, content);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

async fn page(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here\n");
    }
    let files = &shared.static_files;
    let response = match (files.files.get(request.uri().path()), &files.dir) {
        (Some(file), _) => {
            ServeFile::new(file).try_call(request).await.map(|r| r.map(BodyExt::boxed_unsync))
        }
        (None, Some(dir)) => {
            ServeDir::new(dir).try_call(request).await.map(|r| r.map(BodyExt::boxed_unsync))
        }
        (None, None) => Ok(text(StatusCode::NOT_FOUND, "not found\n")),
    };
    match response {
        Ok(mut response) => {
            // A page changes with its plugin: browsers ask each time.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            response
        }
        Err(error) => {
            tracing::warn!(%error, "failed to read a static file");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the file cannot be read\n")
        }
    }
}
