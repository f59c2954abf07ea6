//! From an upgrade request to a connection: who may connect, and how it speaks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::OnUpgrade;
use hyper::{Method, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tracing::{debug, error, info};

use super::connection::Connection;
use super::http::{self, Body};
use super::paced::Paced;
use super::read_ahead::ReadAhead;
use super::websocket::WebSocket;
use crate::channel::Failure;
use crate::server::{Admitted, DashboardRealm, Realm, Shared, TooSoon};
use crate::session::Identity;
use crate::telemetry::{Metric, RedactedPairs, Seldom};
use crate::wasm::{ConnectRequest, Connected, Refusal};
use crate::wire::Serializer;

/// The subprotocol of Phoenix clients that send a token.
const PHOENIX_PROTOCOL: &str = "phoenix";
/// What the subprotocol with the token begins with.
const TOKEN_PROTOCOL: &str = "base64url.bearer.phx.";

/// Answers a request for the WebSocket's path: 101, or why not.
pub(super) async fn respond(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    admitted: Arc<Admitted>,
    realm: Realm,
) -> Response<Body> {
    let began = shared.metrics.now();
    let asked = check(&request, peer, shared);
    if asked.is_ok()
        && let Err(TooSoon { after, reason }) = shared.admission.connect(peer.ip())
    {
        shared.metrics.count_of(Metric::SocketRefused, &[reason], 1);
        debug!(%peer, reason, "refused a connection above socket.max_connects_per_second");
        let busy = http::busy(after, "too many connects at once, come again\n");
        return refused(busy, &admitted, shared);
    }
    let checked = match asked {
        Ok(asked) => decide(asked, peer, shared, realm).await,
        Err(refusal) => Err(refusal),
    };
    if let Some(began) = began {
        let labels = [result(&checked), "websocket", vsn(&request)];
        shared.metrics.time_of(Metric::SocketConnect, &labels, began.elapsed());
    }
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(Refusal { status, reason }) => {
            debug!(%peer, status, "refused a connection");
            let response = match StatusCode::from_u16(status).unwrap_or(StatusCode::FORBIDDEN) {
                StatusCode::SERVICE_UNAVAILABLE => http::busy(COME_AGAIN, &reason),
                status => http::text(status, &reason),
            };
            return refused(response, &admitted, shared);
        }
    };
    let Accepted { identity, response } = accepted;
    let upgrade = hyper::upgrade::on(&mut request);
    // Boxed, so that it is gone when the connection is there.
    let upgrading = Box::pin(take_over(upgrade, identity, Arc::clone(shared), admitted));
    tokio::spawn(async move {
        if let Some(connection) = upgrading.await {
            connection.run().await;
        }
    });
    response
}

/// The answer to a handshake that is refused; the last one if there were many.
fn refused(mut response: Response<Body>, admitted: &Admitted, shared: &Shared) -> Response<Body> {
    if admitted.refuse() {
        shared.metrics.count_of(Metric::SocketRefused, &["repeated"], 1);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Takes the stream over from HTTP once the client has the answer.
async fn take_over(
    upgrade: OnUpgrade,
    identity: Identity,
    shared: Arc<Shared>,
    admitted: Arc<Admitted>,
) -> Option<Box<Connection>> {
    let peer = identity.peer;
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            debug!(%peer, %error, "a handshake was not finished");
            return None;
        }
    };
    let Ok(parts) = upgraded.downcast::<Paced>() else {
        error!("a connection is none of this listener");
        return None;
    };
    let stream = ReadAhead::new(parts.io.into_inner(), &parts.read_buf);
    let socket = WebSocket::new(stream, shared.socket.max_frame_bytes).await;
    Some(Connection::new(socket, identity, shared, admitted))
}

/// One word for metrics.
fn result(checked: &Result<Accepted, Refusal>) -> &'static str {
    match checked {
        Ok(_) => "ok",
        Err(Refusal { status: 500.., .. }) => "error",
        Err(_) => "refused",
    }
}

/// The version a client speaks, for metrics.
fn vsn(request: &Request<Incoming>) -> &'static str {
    match serializer(&params(request.uri().query().unwrap_or_default())) {
        Some(Serializer::V1) => "1",
        Some(Serializer::V2) => "2",
        None => "none",
    }
}

/// A handshake with which nothing is wrong, as far as it can be seen.
struct Asked {
    request: ConnectRequest,
    serializer: Serializer,
    response: Response<Body>,
}

struct Accepted {
    identity: Identity,
    response: Response<Body>,
}

/// The checks in the order of Phoenix: method, upgrade, origin, version, token. They
/// come before anything is spent on the request.
fn check(request: &Request<Incoming>, peer: SocketAddr, shared: &Shared) -> Result<Asked, Refusal> {
    let refuse = |status, reason: &str| Err(Refusal { status, reason: reason.to_owned() });
    if request.method() != Method::GET {
        return refuse(400, "a WebSocket handshake is a GET request\n");
    }
    let mut response = upgrade_response(request)?;
    let headers = request.headers();
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if !shared.socket.check_origin.allows(header(ORIGIN), header(HOST)) {
        tell_of_origin(peer, header(ORIGIN).unwrap_or_default());
        shared.metrics.count_of(Metric::SocketRefused, &["origin"], 1);
        return refuse(403, "");
    }
    let params = params(request.uri().query().unwrap_or_default());
    let Some(serializer) = serializer(&params) else {
        if let Some(line) = VERSIONS.pass() {
            let left_out = line.left_out();
            info!(%peer, left_out, "refused a client whose vsn is neither 1.0.x nor 2.0.x");
        }
        shared.metrics.count_of(Metric::SocketRefused, &["vsn"], 1);
        return refuse(403, "");
    };
    let Ok(protocols) = Protocols::read(headers) else {
        return refuse(403, "");
    };
    if protocols.phoenix {
        let phoenix = HeaderValue::from_static(PHOENIX_PROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, phoenix);
    }
    let headers = readable(headers);
    debug!(%peer, params = %RedactedPairs(&params), "connecting");
    let auth_token = protocols.auth_token;
    let request = ConnectRequest { params, headers, peer: peer.to_string(), auth_token };
    Ok(Asked { request, serializer, response })
}

/// The plugin's word, or that of the dashboard's token.
async fn decide(
    asked: Asked,
    peer: SocketAddr,
    shared: &Shared,
    realm: Realm,
) -> Result<Accepted, Refusal> {
    let Asked { request, serializer, response } = asked;
    let Connected { user_id, assigns } = match realm {
        Realm::App => ask(&request, shared).await?,
        Realm::Dashboard => look_at_dashboard(&request, shared)?,
    };
    let connection = shared.next_connection();
    let user_id = user_id.map(Arc::from);
    let server = shared.id;
    let identity = Identity { server, connection, peer, serializer, user_id, assigns, realm };
    Ok(Accepted { identity, response })
}

/// Lines that any stranger can cause.
static ORIGINS: Seldom = Seldom::one_a_second();
static VERSIONS: Seldom = Seldom::one_a_second();
/// What is worth knowing of an origin.
const MAX_ORIGIN_BYTES: usize = 200;

fn tell_of_origin(peer: SocketAddr, origin: &str) {
    if let Some(line) = ORIGINS.pass() {
        // A header that can be read is ASCII.
        let (origin, left_out) =
            (origin.get(..MAX_ORIGIN_BYTES).unwrap_or(origin), line.left_out());
        info!(%peer, origin, left_out, "refused a page of this origin; see check_origin");
    }
}

fn upgrade_response(request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    match create_response(&head) {
        Ok(response) => Ok(response.map(|()| http::text(StatusCode::OK, "").into_body())),
        Err(error) => Err(Refusal { status: 400, reason: format!("{error}\n") }),
    }
}

/// The page for operators is opened by its token, not by a plugin.
fn look_at_dashboard(request: &ConnectRequest, shared: &Shared) -> Result<Connected, Refusal> {
    let named = |pairs: &[(String, String)], name| {
        pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    };
    let token = named(&request.params, "token");
    let cookies = named(&request.headers, "cookie");
    let admits =
        |realm: &DashboardRealm| realm.dashboard.admits(token.as_deref(), cookies.as_deref());
    let admitted = shared.dashboard.as_ref().is_some_and(admits);
    let refusal = || Refusal { status: 403, reason: String::new() };
    admitted.then(Connected::default).ok_or_else(refusal)
}

/// When a client may come again for whom there was no instance.
const COME_AGAIN: Duration = Duration::from_secs(1);
/// Where faults of it are, as those of others are at a topic.
const CONNECT: &str = "(connect)";

/// Asks the plugin that decides, if one does.
async fn ask(request: &ConnectRequest, shared: &Shared) -> Result<Connected, Refusal> {
    let Some(plugin) = shared.registry.socket() else { return Ok(Connected::default()) };
    match plugin.connect(request).await {
        Ok(answer) => answer,
        Err(fault) => {
            let (plugin, cause) = (plugin.name(), fault.kind.as_str());
            shared.metrics.count_of(Metric::WasmFault, &[plugin, cause], 1);
            shared.faults.push(&fault, plugin, CONNECT);
            if let Some(line) = shared.faults.line(plugin) {
                let (details, left_out) = (fault.details(), line.left_out());
                error!(plugin, cause, left_out, details, "connect failed: {}", fault.message);
            }
            let (status, reason) = match fault.failure() {
                Failure::Overloaded { .. } | Failure::Unavailable { .. } => (503, "overloaded\n"),
                Failure::Crashed | Failure::TimedOut => (500, ""),
            };
            Err(Refusal { status, reason: reason.to_owned() })
        }
    }
}

fn params(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The last `vsn` counts; none means 1.0.0. A list or map of them is refused.
fn serializer(params: &[(String, String)]) -> Option<Serializer> {
    if params.iter().any(|(name, _)| name.starts_with("vsn[")) {
        return None;
    }
    let vsn = params.iter().rev().find(|(name, _)| name == "vsn");
    Serializer::for_vsn(vsn.map_or("1.0.0", |(_, vsn)| vsn))
}

fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        })
        .collect()
}

/// What the client offers as subprotocols.
#[derive(Debug, Default, PartialEq, Eq)]
struct Protocols {
    phoenix: bool,
    auth_token: Option<String>,
}

impl Protocols {
    /// An error for a token that is not base64 of UTF-8.
    fn read(headers: &HeaderMap) -> Result<Self, ()> {
        let mut protocols = Self::default();
        let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        for offered in values.filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(',')) {
            let offered = offered.trim();
            if offered == PHOENIX_PROTOCOL {
                protocols.phoenix = true;
            } else if let Some(token) = offered.strip_prefix(TOKEN_PROTOCOL) {
                protocols.auth_token = Some(decode_token(token).ok_or(())?);
            }
        }
        Ok(protocols)
    }
}

/// Phoenix says base64url and decodes the standard alphabet; either is taken.
fn decode_token(token: &str) -> Option<String> {
    let token = token.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(token).or_else(|_| URL_SAFE_NO_PAD.decode(token)).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_as_in_phoenix() {
        for (query, expected) in [
            ("", Some(Serializer::V1)),
            ("vsn=2.0.0", Some(Serializer::V2)),
            ("a=b&vsn=1.0.0&vsn=2.0.0", Some(Serializer::V2)),
            ("vsn[]=1", None),
            ("vsn=9.9.9", None),
        ] {
            assert_eq!(serializer(&params(query)), expected, "{query}");
        }
    }

    #[test]
    fn a_token_comes_as_a_subprotocol() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            Protocols::read(&headers)
        };
        let token = Some("1234".to_owned());
        let expected = Protocols { phoenix: true, auth_token: token };
        assert_eq!(read("phoenix, base64url.bearer.phx.MTIzNA"), Ok(expected));
        assert_eq!(read("base64url.bearer.phx.&"), Err(()));
        assert_eq!(read("other"), Ok(Protocols::default()));
    }
}
