//! The start of a long-poll session: as a WebSocket's, but for the upgrade.

use std::sync::Arc;

use hyper::http::request::Parts;
use millrace_session::Realm;
use millrace_telemetry::{Metric, RedactedPairs};
use millrace_wasm::ConnectRequest;
use tracing::debug;

use super::answers::{self, Status};
use super::link::LongPollLink;
use crate::http::busy;
use crate::longpoll::Exchange;
use crate::net::Peer;
use crate::node::{AdmissionError, Admitted, Node};
use crate::transport::connection::Connection;
use crate::transport::handshake::{self, Refused};
use crate::transport::requests;

/// The header in which phoenix.js sends a token for authentication.
const AUTH_TOKEN: &str = "x-phoenix-authtoken";

/// Starts the session of this number on this thread, if its client may connect. `promise` is the
/// token that the session was promised with, which is no parameter of the app.
///
/// # Errors
///
/// The answer to a client that may not, or for whom there is no room.
pub(super) async fn start(
    head: &Parts,
    client: Peer,
    node: &Arc<Node>,
    session: u64,
    promise: Option<&str>,
) -> Result<Arc<Exchange>, Refused> {
    let forbidden = || Box::new(answers::status(Status::Forbidden));
    let peer = client.address;
    let query = head.uri.query().unwrap_or_default();
    let (mut params, serializer) =
        handshake::check_version(query, peer, node).map_err(|_| forbidden())?;
    params.retain(|(name, value)| name != "token" || Some(value.as_str()) != promise);
    let admitted = admit(client, node)?;
    let shown = RedactedPairs { pairs: &params, secret: node.auth.param() };
    debug!(%peer, params = %shown, "connecting");
    let auth_token = head.headers.get(AUTH_TOKEN).and_then(|token| token.to_str().ok());
    let auth_token = auth_token.map(str::to_owned);
    let headers = handshake::readable(&head.headers);
    let (address, identity) = (peer.to_string(), None);
    let request = ConnectRequest { params, headers, peer: address, auth_token, identity };
    let began = node.metrics.now();
    let identity = handshake::identify(request, serializer, peer, node, Realm::App, session).await;
    if let Some(began) = began {
        let result = match &identity {
            Ok(_) => "ok",
            Err(refusal) if refusal.status >= 500 => "error",
            Err(_) => "refused",
        };
        let labels = [result, "longpoll", handshake::vsn(&head.uri)];
        node.metrics.time_of(Metric::SocketConnect, &labels, began.elapsed());
    }
    let identity = identity.map_err(|refusal| match refusal.status {
        500.. => handshake::refusal(&refusal),
        // As in Phoenix, whatever the plugin's reason.
        _ => forbidden(),
    })?;
    let (link, exchange) = LongPollLink::open(session, node);
    let connection = Connection::new(link, identity, Arc::clone(node), Arc::new(admitted));
    tokio::spawn(connection.run());
    Ok(exchange)
}

/// Takes a place for a session, as for a connection: a session holds one besides those of its
/// requests.
fn admit(client: Peer, node: &Node) -> Result<Admitted, Refused> {
    if node.memory.is_scarce() {
        let reason = AdmissionError::OutOfMemory.as_str();
        node.metrics.count_of(Metric::SocketRefused, &[reason], 1);
        let why = "the server is short of memory\n";
        return Err(Box::new(busy(requests::FULL_RETRY_AFTER, why)));
    }
    // A proxy that does not name its client is only limited by the totals.
    let address = (!client.is_proxy).then_some(client.ip());
    handshake::admit_with(client, node, || node.admission.connection(address))
}
