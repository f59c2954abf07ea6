//! HTTP requests: the socket's path, the dashboard, and whose the others are.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderMap,
    HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{Request, Response, StatusCode};

use super::{files, handshake, pipelines};
use crate::dashboard::{self, Dashboard};
use crate::server::{Admitted, Realm, Shared, Stage};

/// The body of any response.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What is no page loads nothing, and is in none.
const NO_PAGE: &str = "default-src 'none'; frame-ancestors 'none'";
/// The dashboard is made of its own files alone.
const OWN_SCRIPTS: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

/// When a client that finds the server starting or stopping may come again.
const COME_AGAIN: Duration = Duration::from_secs(1);
/// When one that finds it full may.
const FULL_COME_AGAIN: Duration = Duration::from_secs(5);

/// The answer to a page whose name was made to lead here.
const NOT_THIS_HOST: &str = "this server is on loopback, and its dashboard not for that host; \
    list it in socket.check_origin, or set dashboard.token\n";

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
        (Some(_), Some(realm)) if !realm.is_for(request.headers(), &shared.socket.check_origin) => {
            text(StatusCode::FORBIDDEN, NOT_THIS_HOST)
        }
        (Some("/socket/websocket"), Some(_)) => {
            handshake::respond(request, peer, shared, admitted, Realm::Dashboard).await
        }
        (Some(below), Some(realm)) => dashboard(below, &request, &realm.dashboard),
        _ => files::respond(request, shared).await,
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

/// Answers a request for which there is no room; a full server is no sick one.
pub(super) fn turned_away(request: &Request<Incoming>, shared: &Shared) -> Response<Body> {
    match request.uri().path() {
        "/health" | "/ready" => unserved(request, shared),
        _ => busy(FULL_COME_AGAIN, "too many connections\n"),
    }
}

/// What a response says of its request: its body was read to the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyRead;

/// Ends the connection behind an answer that was given before the body of its request was
/// read to the end: what still comes of it is no request.
pub(crate) fn close_unread(has_body: bool, response: &mut Response<Body>) {
    let is_read = response.extensions().get::<BodyRead>().is_some();
    if has_body && !is_read {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// 503, and when to come again. `after` is rounded up to seconds.
pub(super) fn busy(after: Duration, why: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

/// A short response in plain text, of which no browser makes anything else.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Body> {
    let never = |never: Infallible| match never {};
    let body = Full::new(Bytes::copy_from_slice(text.as_bytes())).map_err(never).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, plain);
    seal(headers);
    response
}

/// Has browsers take an answer for nothing but what it says it is, and put it into
/// no page.
pub(crate) fn seal(headers: &mut HeaderMap) {
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, NO_PAGE),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Answers a request for something below `/dashboard`.
fn dashboard(below: &str, request: &Request<Incoming>, dashboard: &Dashboard) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let token = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "token");
    let token = token.as_ref().map(|(_, token)| token.as_ref());
    let cookies = request.headers().get(COOKIE).and_then(|cookies| cookies.to_str().ok());
    if below == "/data.json" {
        if !dashboard.admits(token, cookies) {
            return text(StatusCode::FORBIDDEN, "give dashboard.token: ?token=…\n");
        }
        return typed("application/json", &dashboard.json());
    }
    let below = below.trim_end_matches('/');
    if let Some(cookie) = token.filter(|_| below.is_empty()).and_then(|t| dashboard.cookie(t)) {
        return without_token(&cookie);
    }
    match dashboard::asset(below) {
        Some((media_type, content)) => typed(media_type, content),
        None => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// To the page, by an address without the token: that is a cookie from now on, and
/// neither in the history nor in any log.
fn without_token(cookie: &str) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    headers.insert(LOCATION, HeaderValue::from_static("/dashboard"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        headers.insert(SET_COOKIE, cookie);
    }
    response
}

/// Content of a type, which the browser asks for each time.
fn typed(media_type: &'static str, content: &str) -> Response<Body> {
    let mut response = text(StatusCode::OK, content);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(OWN_SCRIPTS));
    response
}
