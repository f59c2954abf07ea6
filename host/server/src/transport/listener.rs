//! Accepting connections, and serving HTTP on them.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use millrace_telemetry::{LogLimiter, Metric};
use tracing::{debug, warn};

use super::{longpoll, requests};
use crate::http::FirstRequest;
use crate::http::{self, MAX_HEADER_BYTES};
use crate::net::Listener;
use crate::net::Paced;
use crate::net::Peer;
use crate::net::Stream;
use crate::net::{AcceptError, Acceptor, Socket};
use crate::net::{Place, Places};
use crate::net::{TURN_AWAY_TIMEOUT, accept_next, unserved_places};
use crate::node::{AdmissionError, Admitted, Node, Stage};

/// The time that a response may still take when the server stops.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);
/// The time that a poll may still take then: as long as its session needs to end its calls. The
/// server waits no longer than `drain.timeout_ms`.
const LAST_POLL_TIMEOUT: Duration = Duration::from_secs(60);

/// Accepts connections until it is dropped.
pub(super) async fn accept(listener: Listener, acceptor: Arc<Acceptor>, node: Arc<Node>) {
    let (places, opening) = (Arc::new(unserved_places()), Arc::new(unserved_places()));
    loop {
        let (socket, of) = accept_next(&listener).await;
        let peer = acceptor.peer(of);
        let (places, opening) = (Arc::clone(&places), Arc::clone(&opening));
        let accepted =
            AcceptedSocket { socket, peer, acceptor: Arc::clone(&acceptor), places, opening };
        if *node.stage.borrow() == Stage::Draining {
            accepted.answer_once(&node, requests::unserved);
            continue;
        }
        let address = (!acceptor.speaks_for_others(peer)).then_some(peer.ip());
        let admitted = match node.memory.is_scarce() {
            true => Err(AdmissionError::OutOfMemory),
            false => node.admission.connection(address),
        };
        match admitted {
            Ok(admitted) => drop(tokio::spawn(accepted.enter(admitted, Arc::clone(&node)))),
            Err(refusal) => accepted.turn_away(refusal, &node),
        }
    }
}

/// A connection that was accepted, but not opened yet.
struct AcceptedSocket {
    socket: Socket,
    peer: Peer,
    acceptor: Arc<Acceptor>,
    /// The places of connections that get an answer, but are not served.
    places: Arc<Places>,
    /// The places of proxies' connections, while their clients are not known.
    opening: Arc<Places>,
}

impl AcceptedSocket {
    /// Opens the connection, and serves HTTP on it.
    async fn enter(self, admitted: Admitted, node: Arc<Node>) {
        let Self { socket, peer: before, acceptor, places, .. } = self;
        let mut stage = node.stage.subscribe();
        let opened = tokio::select! {
            // Most connections need neither a header nor TLS, and are open at once.
            biased;
            opened = acceptor.open(socket, before) => opened,
            // A server that stops does not wait for a handshake.
            _ = stage.wait_for(|stage| *stage == Stage::Draining) => return,
        };
        let (stream, peer) = match opened {
            Ok(opened) => opened,
            Err(error) => return log_accept_error(before, &error, &node),
        };
        // The PROXY protocol has named the client by now; a client in HTTP headers is not known
        // yet.
        let refusal = match acceptor.speaks_for_others(before) && !peer.is_proxy {
            true => node.admission.admit_address(&admitted, peer.ip(), false).err(),
            false => None,
        };
        match refusal {
            None => serve(stream, peer, admitted, node).await,
            Some(refusal) => {
                log_refused(peer, refusal, &node);
                if let Some(place) = places.take(peer.ip()) {
                    answer(stream, place, requests::turned_away, &node).await;
                }
            }
        }
    }

    /// Answers a connection for which there is no room.
    fn turn_away(self, refusal: AdmissionError, node: &Arc<Node>) {
        log_refused(self.peer, refusal, node);
        let answer = match refusal {
            AdmissionError::OutOfMemory => requests::short_of_memory,
            AdmissionError::Full | AdmissionError::AddressFull => requests::turned_away,
        };
        self.answer_once(node, answer);
    }

    /// Answers one request of a connection that is not served. If there are too many of these, the
    /// connection is closed instead.
    fn answer_once(self, node: &Arc<Node>, with: Answer) {
        // A proxy is asked for its client first: its own health checks have other places than its
        // clients.
        let place = match self.acceptor.speaks_for_others(self.peer) {
            true => self.opening.take_for_many(),
            false => self.places.take(self.peer.ip()),
        };
        let Some(mut place) = place else { return };
        let node = Arc::clone(node);
        let Self { mut socket, peer, acceptor, places, .. } = self;
        let opening = async move {
            let peer = acceptor.read_proxy_header(&mut socket, peer).await.ok()?;
            if acceptor.proxy_protocol && !peer.is_proxy {
                place = places.take(peer.ip())?;
            }
            Some((acceptor.start_tls(socket, peer).await.ok()?, place))
        };
        tokio::spawn(async move {
            let opened = tokio::time::timeout(TURN_AWAY_TIMEOUT, opening).await;
            if let Ok(Some((stream, place))) = opened {
                answer(stream, place, with, &node).await;
            }
        });
    }
}

fn log_refused(peer: Peer, refusal: AdmissionError, node: &Node) {
    node.metrics.count_of(Metric::SocketRefused, &[refusal.as_str()], 1);
    debug!(peer = %peer.address, ?refusal, "turned a connection away");
}

/// The limit of log lines: whoever has set up a proxy wrongly has to see them, but anybody can
/// cause them.
static ACCEPT_ERRORS: LogLimiter = LogLimiter::one_a_second();

fn log_accept_error(peer: Peer, error: &AcceptError, node: &Node) {
    let (peer, reason) = (peer.address, error.as_str());
    node.metrics.count_of(Metric::SocketRefused, &[reason], 1);
    match error {
        AcceptError::Tls(_) => debug!(%peer, "closed a connection: {error}"),
        _ => {
            if let Some(line) = ACCEPT_ERRORS.pass() {
                let left_out = line.left_out();
                warn!(%peer, left_out, "closed a connection: {error}");
            }
        }
    }
}

/// The function that answers a request which is not served.
type Answer = fn(&Request<Incoming>, &Node) -> Response<http::Body>;

/// Answers one request, and closes the connection.
async fn answer(stream: Stream, place: Place, with: Answer, node: &Arc<Node>) {
    let stream = Paced::new(stream, TURN_AWAY_TIMEOUT, node.metrics.clone());
    let on_flush = &stream.on_flush();
    let service = service_fn(move |request: Request<Incoming>| async move {
        let last = longpoll::last_poll(&request, node, on_flush).await;
        Ok::<_, Infallible>(last.unwrap_or_else(|| with(&request, node)))
    });
    let answering = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service);
    // The client may have gone.
    let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, answering).await;
    drop(place);
}

/// Serves HTTP on one connection, until it becomes a WebSocket or ends.
async fn serve(stream: Stream, peer: Peer, admitted: Admitted, node: Arc<Node>) {
    let address = peer.address;
    if let Err(error) = stream.set_nodelay() {
        debug!(peer = %address, %error, "failed to set TCP_NODELAY");
    }
    let timeout = Duration::from_millis(node.socket.handshake_timeout_ms);
    let stream = Paced::new(stream, timeout, node.metrics.clone());
    let on_flush = stream.on_flush();
    let mut stage = node.stage.subscribe();
    let idle = Duration::from_millis(node.socket.keep_alive_timeout_ms).max(timeout);
    // The WebSocket takes its place with it when HTTP is over.
    let admitted = Arc::new(admitted);
    let first = FirstRequest::new();
    let (first_request, metrics) = (first.clone(), node.metrics.clone());
    let on_service = on_flush.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (node, admitted) = (Arc::clone(&node), Arc::clone(&admitted));
        let on_flush = on_service.clone();
        first_request.note_arrival();
        async move {
            let has_body = !request.body().is_end_stream();
            let client = node.proxies.client(peer, request.headers());
            let mut response = requests::respond(request, client, &node, admitted, &on_flush).await;
            http::close_unread(has_body, &mut response);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        true = first.is_late(timeout) => {
            metrics.count_of(Metric::RequestCutOff, &["head"], 1);
            return debug!(peer = %address, "a client did not send its request in time");
        }
        _ = async { stage.wait_for(|stage| *stage == Stage::Draining).await.is_ok() } => {
            connection.as_mut().graceful_shutdown();
            let most = match on_flush.is_request_waiting() {
                true => LAST_POLL_TIMEOUT,
                false => LAST_RESPONSE_TIMEOUT,
            };
            let last = tokio::time::timeout(most, connection).await;
            last.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(peer = %address, %error, "an HTTP connection ended early");
    }
}
