//! HTTP requests by their paths: the WebSocket, the dashboard, pipelines, and static files.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderValue, LOCATION, SET_COOKIE,
};
use hyper::{Method, Request, Response, StatusCode};
use millrace_session::Realm;
use millrace_telemetry::{LogLimiter, Metric};
use tracing::{info, warn};

use super::forbidden::cut;
use super::{files, handshake, longpoll, pipelines};
use crate::dashboard::{self, Dashboard};
use crate::http::{Body, busy, host, not_allowed, options, text};
use crate::net::{OnFlush, Peer};
use crate::node::{Admitted, Node, Stage};

/// The content security policy of the dashboard, which has only its own files.
const DASHBOARD_CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; \
                           frame-ancestors 'none'";

/// The Retry-After of a server that is starting or stopping.
const STARTING_RETRY_AFTER: Duration = Duration::from_secs(1);
/// The Retry-After of a server that is full.
pub(super) const FULL_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The limits of log lines that any stranger can cause.
static HOSTS: LogLimiter = LogLimiter::one_a_second();
static LONG_POLLS: LogLimiter = LogLimiter::one_a_second();

/// The advice for a host that is not known.
const UNKNOWN_HOST: &str = "if clients use this name, set it as server.public_url or in \
                            socket.hosts; if they use another, the proxy has to pass it on (nginx: \
                            proxy_set_header Host $host)";

/// Answers one request.
pub(super) async fn respond(
    request: Request<Incoming>,
    peer: Peer,
    node: &Arc<Node>,
    admitted: Arc<Admitted>,
    on_flush: &OnFlush,
) -> Response<Body> {
    let path = normal(request.uri().path()).into_owned();
    if path == "/health" || path == "/ready" || *node.stage.borrow() != Stage::Ready {
        // A session that is being drained still gets its last messages.
        let last = longpoll::last_poll(&request, node, on_flush).await;
        return last.unwrap_or_else(|| unserved(&request, node));
    }
    let host = match host(&request) {
        Ok(host) => host,
        Err(bad) => return *bad,
    };
    let below =
        |prefix| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let (pipeline, below_dashboard) = (below("/pipelines"), below("/dashboard"));
    // Browsers and load balancers ask with OPTIONS; the answer does not reveal anything.
    if request.method() != Method::OPTIONS
        && !knows_token(pipeline, below_dashboard, node)
        && !node.hosts.accepts(host.as_deref(), peer.is_local)
    {
        node.metrics.count_of(Metric::SocketRefused, &["host"], 1);
        let response = not_this_host(peer.address, host.as_deref().unwrap_or_default());
        return handshake::refused(response, &admitted, node);
    }
    if let Some(below) = pipeline {
        return pipelines::respond(below.to_owned(), request, node).await;
    }
    let of_socket = path.strip_prefix(node.socket.path.as_str());
    match (of_socket, below_dashboard, &node.dashboard) {
        (Some("/websocket"), ..) | (_, Some("/socket/websocket"), Some(_))
            if request.method() == Method::OPTIONS =>
        {
            options(&[Method::GET])
        }
        (Some("/websocket"), ..) => {
            handshake::respond(request, peer, node, admitted, Realm::App).await
        }
        (Some("/longpoll"), ..) if node.socket.longpoll.enabled => {
            longpoll::respond(request, peer, node, &admitted, on_flush).await
        }
        (Some("/longpoll"), ..) => no_long_poll(peer.address, &node.socket.path),
        (_, Some("/socket/websocket"), Some(_)) => {
            handshake::respond(request, peer, node, admitted, Realm::Dashboard).await
        }
        (_, Some(below), Some(realm)) => {
            dashboard(below, &request, &realm.dashboard, peer.is_encrypted)
        }
        _ => files::respond(request, node).await,
    }
}

/// The path without empty segments: Plug drops them, and some Phoenix clients send them.
fn normal(path: &str) -> Cow<'_, str> {
    if !path.contains("//") && (!path.ends_with('/') || path == "/") {
        return Cow::Borrowed(path);
    }
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    Cow::Owned(format!("/{}", parts.join("/")))
}

/// Whether a path can only be used with a token, which no page of another site has.
fn knows_token(pipeline: Option<&str>, below_dashboard: Option<&str>, node: &Node) -> bool {
    let name = pipeline.and_then(|below| below.split('/').nth(1));
    let ingest = name.and_then(|name| node.ingest.get(name));
    let dashboard = node.dashboard.as_ref().filter(|_| below_dashboard.is_some());
    ingest.is_some_and(|ingest| ingest.token.is_some())
        || dashboard.is_some_and(|realm| realm.dashboard.has_token())
}

/// The answer to a page whose name was made to lead here (DNS rebinding), or to a proxy on this
/// machine that does not pass `Host` on.
fn not_this_host(peer: SocketAddr, host: &str) -> Response<Body> {
    let host = cut(host);
    if let Some(line) = HOSTS.pass() {
        let left_out = line.left_out();
        info!(%peer, host, left_out, "refused a request for a host that is not this machine; \
            {UNKNOWN_HOST}");
    }
    let why = format!(
        "this server listens on loopback and does not know the host {host:?}; {UNKNOWN_HOST}\n"
    );
    text(StatusCode::FORBIDDEN, &why)
}

/// The answer to a phoenix.js that has fallen back to long-polling, which it keeps to for as long
/// as its page is open.
fn no_long_poll(peer: SocketAddr, path: &str) -> Response<Body> {
    if let Some(line) = LONG_POLLS.pass() {
        let left_out = line.left_out();
        warn!(%peer, left_out, "a client asks for long-polling, which is off (longpoll.enabled); \
            phoenix.js does if it has `longPollFallbackMs` and finds the server down, and stays with \
            it: leave that option out");
    }
    let why = format!(
        "long-polling is off here (longpoll.enabled); a WebSocket is at {path}/websocket. Leave \
         `longPollFallbackMs` out of the options of phoenix.js; a page that has fallen back has to \
         be loaded anew, without `phx:fallback:LongPoll` in its sessionStorage\n"
    );
    text(StatusCode::NOT_FOUND, &why)
}

/// Answers monitors and load balancers, and any request while clients are not served: `/health`
/// says that the process runs, `/ready` whether it serves.
pub(super) fn unserved(request: &Request<Incoming>, node: &Node) -> Response<Body> {
    if let Err(bad) = host(request) {
        return *bad;
    }
    let stage = *node.stage.borrow();
    let text_of = format!("{}\n", stage.as_str());
    match (normal(request.uri().path()).as_ref(), stage) {
        ("/health", _) => text(StatusCode::OK, "ok\n"),
        ("/ready", Stage::Ready) => text(StatusCode::OK, &text_of),
        _ => busy(STARTING_RETRY_AFTER, &text_of),
    }
}

/// Answers a request for which there is no room. A full server is still healthy.
pub(super) fn turned_away(request: &Request<Incoming>, node: &Node) -> Response<Body> {
    match normal(request.uri().path()).as_ref() {
        "/health" | "/ready" => unserved(request, node),
        _ if request.method() == Method::OPTIONS => options(&[Method::GET, Method::HEAD]),
        _ => busy(FULL_RETRY_AFTER, "too many connections\n"),
    }
}

/// Answers a request while the server is short of memory. The process is alive, but load balancers
/// should use another.
pub(super) fn short_of_memory(request: &Request<Incoming>, node: &Node) -> Response<Body> {
    match request.uri().path() {
        "/health" => unserved(request, node),
        _ => busy(FULL_RETRY_AFTER, "the server is short of memory\n"),
    }
}

/// Answers a request for `/dashboard` or a path below it; `below` is the rest of the path.
fn dashboard(
    below: &str,
    request: &Request<Incoming>,
    dashboard: &Dashboard,
    is_encrypted: bool,
) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return options(&[Method::GET, Method::HEAD]),
        _ => return not_allowed(&[Method::GET, Method::HEAD]),
    }
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
    if below.is_empty() && !request.uri().path().ends_with('/') {
        // Relative, as the page's links are: a proxy may have removed a prefix of the path.
        return redirect(&format!("dashboard/{}", query_suffix(query)));
    }
    if let Some(cookie) =
        token.filter(|_| below.is_empty()).and_then(|t| dashboard.cookie(t, is_encrypted))
    {
        return without_token(&cookie);
    }
    match dashboard::asset(below) {
        Some((media_type, content)) => typed(media_type, content),
        None => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// A query with its question mark; nothing if it is empty.
pub(super) fn query_suffix(query: &str) -> String {
    if query.is_empty() { String::new() } else { format!("?{query}") }
}

/// Redirects to the page without the token in the URL: the token becomes a cookie, so it is neither
/// in the history nor in logs.
fn without_token(cookie: &str) -> Response<Body> {
    let mut response = redirect("./");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().insert(SET_COOKIE, cookie);
    }
    response
}

/// Redirects to a URL that is relative to the request's.
fn redirect(relative: &str) -> Response<Body> {
    let mut response = text(StatusCode::SEE_OTHER, "");
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::try_from(relative) {
        headers.insert(LOCATION, location);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A response of this media type, which browsers ask for each time.
fn typed(media_type: &'static str, content: &str) -> Response<Body> {
    let mut response = text(StatusCode::OK, content);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DASHBOARD_CSP));
    response
}
