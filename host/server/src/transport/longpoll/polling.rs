//! GET: the client asks for messages, or for a session.

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use millrace_telemetry::{Metric, Metrics};
use tokio::time::timeout;

use super::Answer;
use super::answers::{self, Status, nothing};
use super::found::{Found, Session, keep_promise};
use super::session::start;
use crate::http::Body;
use crate::longpoll::{PendingPoll, Polled};
use crate::net::{OnFlush, Peer};
use crate::node::{Node, Stage};

/// The time that a poll waits on a new connection while the server stops.
const LAST_WINDOW: Duration = Duration::from_secs(1);

/// Answers a poll, or makes a session.
pub(super) async fn poll(
    head: &Parts,
    client: Peer,
    node: &Arc<Node>,
    on_flush: &OnFlush,
) -> Answer {
    let session = match Found::of(&head.uri, &head.headers, node) {
        Found::Session(session) => session,
        Found::Promised(number, promise) => {
            keep_promise(head, client, node, number, &promise).await?
        }
        Found::Dead => {
            // Current clients connect anew, and older ones go on with the token that they get: so
            // the session is only made when it is used.
            node.metrics.count_of(Metric::LongPollPolls, &["gone"], 1);
            let promise = node.longpolls.promise(node.next_connection());
            return Ok(nothing(Status::Gone, &promise));
        }
        Found::NoToken => {
            let number = node.next_connection();
            start(head, client, node, number, None).await?;
            return Ok(nothing(Status::Gone, &node.longpolls.token(number)));
        }
    };
    Ok(wait(&session, node.socket.longpoll.window(), node, on_flush).await)
}

/// Answers the poll of a session that is being drained, on a connection that gets no other answer.
/// `None` if the request is no such poll.
pub(in crate::transport) async fn last_poll(
    request: &Request<Incoming>,
    node: &Arc<Node>,
    on_flush: &OnFlush,
) -> Option<Response<Body>> {
    let path = request.uri().path().strip_prefix(node.socket.path.as_str());
    let is_poll = path == Some("/longpoll")
        && request.method() == Method::GET
        && node.socket.longpoll.enabled
        && *node.stage.borrow() == Stage::Draining;
    match is_poll.then(|| Found::of(request.uri(), request.headers(), node))? {
        Found::Session(session) => Some(wait(&session, LAST_WINDOW, node, on_flush).await),
        _ => None,
    }
}

/// Waits for messages for the time of the window at most.
async fn wait(
    session: &Session,
    window: Duration,
    node: &Arc<Node>,
    on_flush: &OnFlush,
) -> Response<Body> {
    let mut result = ResultCounter { metrics: &node.metrics, result: "given_up" };
    let waiting = on_flush.wait();
    let poll = PendingPoll::begin(&session.exchange);
    let polled = tokio::select! {
        polled = timeout(window, poll.messages()) => polled,
        never = drain(session.number, node) => match never {},
    };
    drop(waiting);
    let (name, response) = match polled {
        Ok(Polled::Messages(batch)) => {
            ("messages", answers::messages(batch, &session.token, on_flush))
        }
        Ok(Polled::Superseded) => ("superseded", nothing(Status::NoContent, &session.token)),
        Ok(Polled::Ended) => ("gone", answers::status(Status::Ended)),
        Err(_) => ("empty", nothing(Status::NoContent, &session.token)),
    };
    result.result = name;
    response
}

/// Drains the session of a poll as soon as the server stops, as its client cannot ask much longer.
async fn drain(session: u64, node: &Node) -> Infallible {
    let mut stage = node.stage.subscribe();
    // An error means that the node has gone, which this reference prevents.
    let _ = stage.wait_for(|stage| *stage == Stage::Draining).await;
    if let Some(outbox) = node.connections.outbox(session) {
        outbox.drain();
    }
    pending().await
}

/// Counts the result of a poll when it ends, also if its client gives it up.
struct ResultCounter<'a> {
    metrics: &'a Metrics,
    result: &'static str,
}

impl Drop for ResultCounter<'_> {
    fn drop(&mut self) {
        self.metrics.count_of(Metric::LongPollPolls, &[self.result], 1);
    }
}
