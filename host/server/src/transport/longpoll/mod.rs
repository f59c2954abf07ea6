//! Long-polling, at `PATH/longpoll`: a session whose client sends with POSTs, and asks for messages
//! with one GET after the other. The session is a connection as any other; only its link differs.

mod answers;
mod found;
mod link;
mod polling;
mod posting;
mod session;

pub(super) use polling::last_poll;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};

use self::answers::{Status, open_to_pages};
use super::handshake::{self, Refused};
use crate::http::{self, Body, host};
use crate::net::{OnFlush, Peer};
use crate::node::{Admitted, Node};

/// An answer, or one that refuses the client.
type Answer = Result<Response<Body>, Refused>;

/// Answers a request for long-polling. What waits in `on_flush` is told when it was written.
pub(super) async fn respond(
    request: Request<Incoming>,
    client: Peer,
    node: &Arc<Node>,
    admitted: &Admitted,
    on_flush: &OnFlush,
) -> Response<Body> {
    let host = host(&request);
    let (head, body) = request.into_parts();
    if head.method == Method::OPTIONS {
        return answers::preflight(&head.headers);
    }
    let allowed = host.and_then(|host| check_origin(&head, host.as_deref(), client, node));
    let answered = match (allowed, &head.method) {
        (Err(refused), _) => Err(refused),
        (Ok(()), &Method::GET) => polling::poll(&head, client, node, on_flush).await,
        (Ok(()), &Method::POST) => posting::take(&head, body, client, node).await,
        // As in Phoenix.
        _ => Err(Box::new(http::text(StatusCode::BAD_REQUEST, ""))),
    };
    answered.unwrap_or_else(|refused| open_to_pages(handshake::refused(*refused, admitted, node)))
}

/// Checks the origin, which a page may have changed since its session began.
fn check_origin(
    head: &Parts,
    host: Option<&str>,
    client: Peer,
    node: &Node,
) -> Result<(), Refused> {
    handshake::check_origin(&head.headers, host, client.address, node)
        .map_err(|_| Box::new(answers::status(Status::Forbidden)))
}
