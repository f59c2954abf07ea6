//! The handshake of a WebSocket: who may connect, and which protocol version is spoken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderMap, HeaderValue, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri};
use millrace_session::{Identity, Realm};
use millrace_telemetry::{Metric, RedactedPairs};
use millrace_wasm::{ConnectRequest, Connected, Refusal};
use millrace_wire::Serializer;
use tracing::{debug, error};

use super::connect::connect;
use super::connection::Connection;
use super::forbidden::{wrong_origin, wrong_version};
use super::protocols::Protocols;
use super::read_ahead::ReadAhead;
use super::requests;
use super::upgrade;
use super::websocket::WebSocket;
use crate::http::host;
use crate::http::{self, Body};
use crate::net::Paced;
use crate::net::Peer;
use crate::net::RateLimited;
use crate::node::{AdmissionError, Admitted, DashboardRealm, Node};

/// Answers a request for the WebSocket's path: 101, or the reason why not.
pub(super) async fn respond(
    mut request: Request<Incoming>,
    client: Peer,
    node: &Arc<Node>,
    admitted: Arc<Admitted>,
    realm: Realm,
) -> Response<Body> {
    let (began, peer) = (node.metrics.now(), client.address);
    let handshake = check(&request, peer, node);
    if handshake.is_ok()
        && let Err(busy) = admit(client, &admitted, node)
    {
        return refused(*busy, &admitted, node);
    }
    let checked = match handshake {
        Ok(handshake) => decide(handshake, peer, node, realm).await,
        Err(refused) => Err(refused),
    };
    // Connections to the dashboard are not connections of the app.
    if let (Some(began), Realm::App) = (began, realm) {
        let labels = [result(&checked), "websocket", vsn(request.uri())];
        node.metrics.time_of(Metric::SocketConnect, &labels, began.elapsed());
    }
    let accepted = match checked {
        Ok(accepted) => accepted,
        Err(response) => {
            debug!(%peer, status = %response.status(), "refused a connection");
            admitted.forget_handshake();
            return refused(*response, &admitted, node);
        }
    };
    let Accepted { identity, response } = accepted;
    let upgrade = hyper::upgrade::on(&mut request);
    // Boxed, so that its memory is freed when the connection begins.
    let upgrading = Box::pin(take_over(upgrade, identity, Arc::clone(node), admitted));
    tokio::spawn(async move {
        if let Some(connection) = upgrading.await {
            connection.run().await;
        }
    });
    response
}

/// Admits a client, if the limits of connects and connections allow it; the error is the answer.
fn admit(client: Peer, admitted: &Admitted, node: &Node) -> Result<(), Refused> {
    admit_with(client, node, || match client.is_proxy {
        // A proxy that does not name its client is only limited by the totals.
        true => Ok(()),
        false => node.admission.admit_address(admitted, client.ip(), true),
    })
}

/// Admits a client, if the limits of connects allow it and then `take` a connection; the error is
/// the answer.
pub(super) fn admit_with<T>(
    client: Peer,
    node: &Node,
    take: impl FnOnce() -> Result<T, AdmissionError>,
) -> Result<T, Refused> {
    let (peer, connects) = (client.address, node.admission.connect(client.ip()));
    let (reason, after, why) = match connects {
        Err(RateLimited { after, reason }) => {
            (reason, after, "too many connects at once, come again\n")
        }
        Ok(()) => match take() {
            Ok(taken) => return Ok(taken),
            Err(refusal) => {
                (refusal.as_str(), requests::FULL_RETRY_AFTER, "too many connections\n")
            }
        },
    };
    node.metrics.count_of(Metric::SocketRefused, &[reason], 1);
    debug!(%peer, reason, "refused a client: too many of them, or too fast");
    let mut busy = http::busy(after, why);
    // A closed connection does not take a place.
    busy.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Err(Box::new(busy))
}

/// The answer to a handshake or host that is refused. After too many of them, the connection is
/// closed.
pub(super) fn refused(
    mut response: Response<Body>,
    admitted: &Admitted,
    node: &Node,
) -> Response<Body> {
    if admitted.refuse() {
        node.metrics.count_of(Metric::SocketRefused, &["repeated"], 1);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Takes the stream over from HTTP once the client has the answer.
async fn take_over(
    upgrade: OnUpgrade,
    identity: Identity,
    node: Arc<Node>,
    admitted: Arc<Admitted>,
) -> Option<Box<Connection<WebSocket>>> {
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
    let socket = WebSocket::new(stream, node.socket.max_frame_bytes).await;
    Some(Connection::new(socket, identity, node, admitted))
}

/// The answer to a handshake that is refused.
pub(super) type Refused = Box<Response<Body>>;

fn refuse(status: StatusCode, reason: &str) -> Refused {
    Box::new(http::text(status, reason))
}

/// The answer for a plugin's refusal.
pub(super) fn refusal(Refusal { status, reason }: &Refusal) -> Refused {
    match StatusCode::from_u16(*status).unwrap_or(StatusCode::FORBIDDEN) {
        StatusCode::SERVICE_UNAVAILABLE => Box::new(http::busy(OVERLOADED_RETRY_AFTER, reason)),
        status => refuse(status, reason),
    }
}

/// The result of a handshake in one word, for metrics.
fn result(checked: &Result<Accepted, Refused>) -> &'static str {
    match checked {
        Ok(_) => "ok",
        Err(response) if response.status().is_server_error() => "error",
        Err(_) => "refused",
    }
}

/// The protocol version of a client, for metrics.
pub(super) fn vsn(uri: &Uri) -> &'static str {
    match serializer(&params(uri.query().unwrap_or_default())) {
        Some(Serializer::V1) => "1",
        Some(Serializer::V2) => "2",
        None => "none",
    }
}

/// A handshake that has passed all checks before a plugin is asked.
struct CheckedHandshake {
    request: ConnectRequest,
    serializer: Serializer,
    response: Response<Body>,
}

struct Accepted {
    identity: Identity,
    response: Response<Body>,
}

/// Checks a handshake, in the order of Phoenix: method, upgrade, origin, version, token. These
/// checks come before any limit is spent on the request.
fn check(
    request: &Request<Incoming>,
    peer: SocketAddr,
    node: &Node,
) -> Result<CheckedHandshake, Refused> {
    let forbidden = |why: &str| refuse(StatusCode::FORBIDDEN, why);
    let mut response = upgrade::upgrade(request)?;
    let headers = request.headers();
    let host = host(request)?;
    check_origin(headers, host.as_deref(), peer, node).map_err(|why| forbidden(&why))?;
    let query = request.uri().query().unwrap_or_default();
    let (params, serializer) = check_version(query, peer, node).map_err(|why| forbidden(&why))?;
    let protocols = Protocols::read(headers, &node.socket.subprotocols);
    let Ok(protocols) = protocols else {
        if node.auth.is_on() {
            let malformed = millrace_auth::Refusal::Malformed("it is not base64 of UTF-8");
            node.auth.note_refused(&peer.to_string(), &malformed.into());
            return Err(forbidden(""));
        }
        return Err(forbidden("the token among the subprotocols is not base64 of UTF-8\n"));
    };
    if let Some(spoken) = protocols.spoken.and_then(|name| HeaderValue::try_from(name).ok()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, spoken);
    }
    let headers = readable(headers);
    let shown = RedactedPairs { pairs: &params, secret: node.auth.param() };
    debug!(%peer, params = %shown, "connecting");
    let auth_token = protocols.auth_token;
    let (peer, identity) = (peer.to_string(), None);
    let request = ConnectRequest { params, headers, peer, auth_token, identity };
    Ok(CheckedHandshake { request, serializer, response })
}

/// Checks the origin of the page that asks. The error is the text for the client.
pub(super) fn check_origin(
    headers: &HeaderMap,
    host: Option<&str>,
    peer: SocketAddr,
    node: &Node,
) -> Result<(), String> {
    let origin = origin(headers);
    if node.hosts.allows(origin, host) {
        return Ok(());
    }
    node.metrics.count_of(Metric::SocketRefused, &["origin"], 1);
    Err(wrong_origin(peer, origin.unwrap_or_default(), host.unwrap_or_default()))
}

/// Reads the parameters and the protocol version. The error is the text for the client.
pub(super) fn check_version(
    query: &str,
    peer: SocketAddr,
    node: &Node,
) -> Result<(Vec<(String, String)>, Serializer), String> {
    let params = params(query);
    if let Some(serializer) = serializer(&params) {
        return Ok((params, serializer));
    }
    node.metrics.count_of(Metric::SocketRefused, &["vsn"], 1);
    Err(wrong_version(peer, &params))
}

/// Decides whether a client that has passed all checks may connect.
async fn decide(
    handshake: CheckedHandshake,
    peer: SocketAddr,
    node: &Node,
    realm: Realm,
) -> Result<Accepted, Refused> {
    let CheckedHandshake { request, serializer, response } = handshake;
    let connection = node.next_connection();
    let identity = identify(request, serializer, peer, node, realm, connection).await;
    let identity = identity.map_err(|refused| refusal(&refused))?;
    Ok(Accepted { identity, response })
}

/// Verifies the client's token and asks the plugin, or checks the dashboard's token, whichever way
/// the client has come.
pub(super) async fn identify(
    request: ConnectRequest,
    serializer: Serializer,
    peer: SocketAddr,
    node: &Node,
    realm: Realm,
    connection: u64,
) -> Result<Identity, Refusal> {
    let (Connected { user_id, assigns }, token) = match realm {
        Realm::App => connect(request, node).await,
        Realm::Dashboard => look_at_dashboard(&request, node).map(|connected| (connected, None)),
    }?;
    let user_id = user_id.map(Arc::from);
    let server = node.id;
    Ok(Identity { server, connection, peer, serializer, user_id, assigns, realm, token })
}

/// The origin of the page that asks; only browsers send one. An origin that cannot be read, or
/// several, become one that is never allowed.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => None,
        (Some(origin), None) => Some(origin.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Some(""),
    }
}

/// Admits a client of the dashboard by its token, without asking a plugin.
fn look_at_dashboard(request: &ConnectRequest, node: &Node) -> Result<Connected, Refusal> {
    let named = |pairs: &[(String, String)], name| {
        pairs.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone())
    };
    let token = named(&request.params, "token");
    let cookies = named(&request.headers, "cookie");
    let admits =
        |realm: &DashboardRealm| realm.dashboard.admits(token.as_deref(), cookies.as_deref());
    let admitted = node.dashboard.as_ref().is_some_and(admits);
    let refusal = || Refusal { status: 403, reason: String::new() };
    admitted.then(Connected::default).ok_or_else(refusal)
}

/// The Retry-After of a client for which there was no instance.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_secs(1);

fn params(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The serializer for the last `vsn`; without one it is 1.0.0, as in Phoenix. A list or map of
/// versions is refused.
fn serializer(params: &[(String, String)]) -> Option<Serializer> {
    if params.iter().any(|(name, _)| name.starts_with("vsn[")) {
        return None;
    }
    let vsn = params.iter().rev().find(|(name, _)| name == "vsn");
    Serializer::for_vsn(vsn.map_or("1.0.0", |(_, vsn)| vsn))
}

/// The headers that are text.
pub(super) fn readable(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes()).ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        })
        .collect()
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
}
