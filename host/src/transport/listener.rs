//! Accepting connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, warn};

use super::first::FirstRequest;
use super::http;
use super::paced::Paced;
use super::places::Places;
use crate::server::{Admitted, Shared, Stage, Turned};
use crate::telemetry::{Metric, Seldom};

/// How long to wait after an accept that failed, most likely for want of file
/// descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Connections of one listener that are answered at the same time although there is no room
/// for them; others are closed without a word.
const MAX_TURNED_AWAY: usize = 256;
/// Of one address: a proxy's, and a monitor's behind it.
const TURNED_AWAY_OF_ADDRESS: usize = 64;
/// How long each of them may take.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(2);

/// A request's headers; longer ones get 431.
pub(crate) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long a response may still take when the server stops.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Accepts connections until it is dropped.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let places = unserved_places();
    loop {
        let (stream, peer) = next(&listener).await;
        if *shared.stage.borrow() == Stage::Draining {
            answer_once(&places, stream, peer, &shared, http::unserved);
            continue;
        }
        let admitted = match shared.memory.is_scarce() {
            true => Err(Turned::OutOfMemory),
            false => shared.admission.connection(peer.ip()),
        };
        match admitted {
            Ok(admitted) => drop(tokio::spawn(serve(stream, peer, admitted, Arc::clone(&shared)))),
            Err(turned) => {
                shared.metrics.count_of(Metric::SocketRefused, &[turned.as_str()], 1);
                debug!(%peer, ?turned, "turned a connection away");
                let answer = match turned {
                    Turned::OutOfMemory => http::short_of_memory,
                    Turned::Full | Turned::AddressFull => http::turned_away,
                };
                answer_once(&places, stream, peer, &shared, answer);
            }
        }
    }
}

/// Places for those that are answered and not served.
pub(crate) fn unserved_places() -> Places {
    Places::new(MAX_TURNED_AWAY, TURNED_AWAY_OF_ADDRESS)
}

/// Without descriptors, each try fails.
static FAILED: Seldom = Seldom::one_a_second();

/// The next connection.
pub(crate) async fn next(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                if let Some(line) = FAILED.pass() {
                    let left_out = line.left_out();
                    warn!(%error, left_out, "failed to accept a connection");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// Answers one request of a connection that is not served, if there are not too many of
/// them.
fn answer_once(
    places: &Places,
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Arc<Shared>,
    answer: fn(&Request<Incoming>, &Shared) -> Response<http::Body>,
) {
    let Some(place) = places.take(peer.ip()) else { return };
    let stream = Paced::new(stream, TURN_AWAY_TIMEOUT, shared.metrics.clone());
    let shared = Arc::clone(shared);
    let service = service_fn(move |request: Request<Incoming>| {
        let response = answer(&request, &shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let answering = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service);
    tokio::spawn(async move {
        // Whoever asked may have gone.
        let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, answering).await;
        drop(place);
    });
}

/// Tells a client that there is no room, whatever it asks for, if there are not too many of
/// them.
pub(crate) fn turn_away(places: &Places, stream: TcpStream, peer: SocketAddr) {
    let Some(place) = places.take(peer.ip()) else { return };
    tokio::spawn(async move {
        let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, say_busy(stream)).await;
        drop(place);
    });
}

async fn say_busy(mut stream: TcpStream) -> io::Result<()> {
    const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\
        Connection: close\r\n\r\ntoo many connections\n";
    stream.write_all(BUSY).await?;
    stream.shutdown().await?;
    // Closing with the request unread would reset the connection, and the
    // answer with it.
    let mut request = [0; 1024];
    while stream.read(&mut request).await? > 0 {}
    Ok(())
}

/// Serves HTTP on one connection, until it becomes a WebSocket or ends.
async fn serve(stream: TcpStream, peer: SocketAddr, admitted: Admitted, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "failed to set TCP_NODELAY");
    }
    let timeout = Duration::from_millis(shared.socket.handshake_timeout_ms);
    let stream = Paced::new(stream, timeout, shared.metrics.clone());
    let mut stage = shared.stage.subscribe();
    let idle = Duration::from_millis(shared.socket.keep_alive_timeout_ms).max(timeout);
    // The WebSocket goes on after HTTP is over, and takes its place with it.
    let admitted = Arc::new(admitted);
    let first = FirstRequest::new();
    let asked = first.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, admitted) = (Arc::clone(&shared), Arc::clone(&admitted));
        asked.came();
        async move {
            let has_body = !request.body().is_end_stream();
            let mut response = http::respond(request, peer, &shared, admitted).await;
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
        true = first.is_late(timeout) => return debug!(%peer, "a client did not send its request in time"),
        _ = async { stage.wait_for(|stage| *stage == Stage::Draining).await.is_ok() } => {
            connection.as_mut().graceful_shutdown();
            let last = tokio::time::timeout(LAST_RESPONSE_TIMEOUT, connection).await;
            last.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%peer, %error, "an HTTP connection ended early");
    }
}
