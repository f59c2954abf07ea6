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
use millrace_telemetry::{LogLimiter, Metric};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::{debug, warn};

use super::door::{Door, Shut, Socket};
use super::first::FirstRequest;
use super::http;
use super::listeners::Listener;
use super::paced::Paced;
use super::peer::Peer;
use super::places::{Place, Places};
use super::stream::Stream;
use crate::server::{Admitted, Shared, Stage, Turned};

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

/// What is read and not looked at of a request that is answered whatever it says, in bytes.
const MAX_UNHEARD_BYTES: usize = 64 * 1024;

/// A request's headers; longer ones get 431.
pub(crate) const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long a response may still take when the server stops.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Accepts connections until it is dropped.
pub(super) async fn accept(listener: Listener, door: Arc<Door>, shared: Arc<Shared>) {
    let (places, opening) = (Arc::new(unserved_places()), Arc::new(unserved_places()));
    loop {
        let (socket, of) = next(&listener).await;
        let peer = door.peer(of);
        let (places, opening) = (Arc::clone(&places), Arc::clone(&opening));
        let coming = Coming { socket, peer, door: Arc::clone(&door), places, opening };
        if *shared.stage.borrow() == Stage::Draining {
            coming.answer_once(&shared, http::unserved);
            continue;
        }
        let address = (!door.is_asked_for_others(peer)).then_some(peer.ip());
        let admitted = match shared.memory.is_scarce() {
            true => Err(Turned::OutOfMemory),
            false => shared.admission.connection(address),
        };
        match admitted {
            Ok(admitted) => drop(tokio::spawn(coming.enter(admitted, Arc::clone(&shared)))),
            Err(turned) => coming.turn_away(turned, &shared),
        }
    }
}

/// A connection that was accepted, in front of the door.
struct Coming {
    socket: Socket,
    peer: Peer,
    door: Arc<Door>,
    /// For those that are answered and not served.
    places: Arc<Places>,
    /// For those of proxies, as long as it is not known whose they are.
    opening: Arc<Places>,
}

impl Coming {
    /// Opens the door, and serves whoever comes in.
    async fn enter(self, admitted: Admitted, shared: Arc<Shared>) {
        let Self { socket, peer: before, door, places, .. } = self;
        let mut stage = shared.stage.subscribe();
        let opened = tokio::select! {
            // Most doors are open, and take no time.
            biased;
            opened = door.open(socket, before) => opened,
            // A server that stops does not wait for a handshake.
            _ = stage.wait_for(|stage| *stage == Stage::Draining) => return,
        };
        let (stream, peer) = match opened {
            Ok(opened) => opened,
            Err(shut) => return tell_of_shut(before, &shut, &shared),
        };
        // What a proxy has said in front is known now; what it says in headers is not.
        let turned = match door.is_asked_for_others(before) && !peer.is_proxy {
            true => shared.admission.is_of(&admitted, peer.ip(), false).err(),
            false => None,
        };
        match turned {
            None => serve(stream, peer, admitted, shared).await,
            Some(turned) => {
                tell_of_turned(peer, turned, &shared);
                if let Some(place) = places.take(peer.ip()) {
                    answer(stream, place, http::turned_away, &shared).await;
                }
            }
        }
    }

    /// Answers one for whom there is no room.
    fn turn_away(self, turned: Turned, shared: &Arc<Shared>) {
        tell_of_turned(self.peer, turned, shared);
        let answer = match turned {
            Turned::OutOfMemory => http::short_of_memory,
            Turned::Full | Turned::AddressFull => http::turned_away,
        };
        self.answer_once(shared, answer);
    }

    /// Answers one request of a connection that is not served, if there are not too many of
    /// them.
    fn answer_once(self, shared: &Arc<Shared>, with: Answer) {
        // Of a proxy it is asked first whom it asks for: its own checks have another place
        // than a client of it that says nothing.
        let place = match self.door.is_asked_for_others(self.peer) {
            true => self.opening.take_for_many(),
            false => self.places.take(self.peer.ip()),
        };
        let Some(mut place) = place else { return };
        let shared = Arc::clone(shared);
        let Self { mut socket, peer, door, places, .. } = self;
        let opening = async move {
            let peer = door.introduced(&mut socket, peer).await.ok()?;
            if door.proxy_protocol && !peer.is_proxy {
                place = places.take(peer.ip())?;
            }
            Some((door.let_in(socket, peer).await.ok()?, place))
        };
        tokio::spawn(async move {
            let opened = tokio::time::timeout(TURN_AWAY_TIMEOUT, opening).await;
            if let Ok(Some((stream, place))) = opened {
                answer(stream, place, with, &shared).await;
            }
        });
    }
}

fn tell_of_turned(peer: Peer, turned: Turned, shared: &Shared) {
    shared.metrics.count_of(Metric::SocketRefused, &[turned.as_str()], 1);
    debug!(peer = %peer.address, ?turned, "turned a connection away");
}

/// Whoever has made a mistake with a proxy wants to know; anybody else can cause it.
static SHUT: LogLimiter = LogLimiter::one_a_second();

fn tell_of_shut(peer: Peer, shut: &Shut, shared: &Shared) {
    let (peer, reason) = (peer.address, shut.as_str());
    shared.metrics.count_of(Metric::SocketRefused, &[reason], 1);
    match shut {
        Shut::Tls(_) => debug!(%peer, "closed a connection: {shut}"),
        _ => {
            if let Some(line) = SHUT.pass() {
                let left_out = line.left_out();
                warn!(%peer, left_out, "closed a connection: {shut}");
            }
        }
    }
}

/// Places for those that are answered and not served.
pub(crate) fn unserved_places() -> Places {
    Places::new(MAX_TURNED_AWAY, TURNED_AWAY_OF_ADDRESS)
}

/// Without descriptors, each try fails.
static FAILED: LogLimiter = LogLimiter::one_a_second();

/// The next connection, and where it comes from.
pub(crate) async fn next(listener: &Listener) -> (Socket, Option<SocketAddr>) {
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

/// What is answered to whoever is not served.
type Answer = fn(&Request<Incoming>, &Shared) -> Response<http::Body>;

/// Answers one request.
async fn answer(stream: Stream, place: Place, with: Answer, shared: &Arc<Shared>) {
    let stream = Paced::new(stream, TURN_AWAY_TIMEOUT, shared.metrics.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let response = with(&request, shared);
        async move { Ok::<_, Infallible>(response) }
    });
    let answering = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service);
    // Whoever asked may have gone.
    let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, answering).await;
    drop(place);
}

/// Tells a client that there is no room, whatever it asks for, if there are not too many of
/// them.
pub(crate) fn turn_away(places: &Places, door: &Arc<Door>, socket: Socket, peer: Peer) {
    let Some(place) = places.take(peer.ip()) else { return };
    let door = Arc::clone(door);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, async {
            if let Ok((stream, _)) = door.open(socket, peer).await {
                let _ = say(stream, BUSY).await;
            }
        })
        .await;
        drop(place);
    });
}

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\
    Connection: close\r\n\r\ntoo many connections\n";
const SPEAK_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 38\r\n\
    Connection: close\r\n\r\nTLS is spoken here: ask with https://\n";

/// Tells a client that asks over plain HTTP where TLS is spoken.
pub(super) async fn say_tls(socket: TcpStream) -> io::Result<()> {
    say(socket, SPEAK_TLS).await
}

async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, what: &[u8]) -> io::Result<()> {
    stream.write_all(what).await?;
    stream.shutdown().await?;
    // Closing with the request unread would reset the connection, and the
    // answer with it.
    let mut request = [0; 1024];
    let mut left = MAX_UNHEARD_BYTES;
    let hear = async {
        while left > 0 {
            match stream.read(&mut request).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    };
    tokio::time::timeout(TURN_AWAY_TIMEOUT, hear).await.unwrap_or(Ok(()))
}

/// Serves HTTP on one connection, until it becomes a WebSocket or ends.
async fn serve(stream: Stream, peer: Peer, admitted: Admitted, shared: Arc<Shared>) {
    let address = peer.address;
    if let Err(error) = stream.set_nodelay() {
        debug!(peer = %address, %error, "failed to set TCP_NODELAY");
    }
    let timeout = Duration::from_millis(shared.socket.handshake_timeout_ms);
    let stream = Paced::new(stream, timeout, shared.metrics.clone());
    let mut stage = shared.stage.subscribe();
    let idle = Duration::from_millis(shared.socket.keep_alive_timeout_ms).max(timeout);
    // The WebSocket goes on after HTTP is over, and takes its place with it.
    let admitted = Arc::new(admitted);
    let first = FirstRequest::new();
    let (asked, metrics) = (first.clone(), shared.metrics.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (shared, admitted) = (Arc::clone(&shared), Arc::clone(&admitted));
        asked.came();
        async move {
            let has_body = !request.body().is_end_stream();
            let client = shared.proxies.client(peer, request.headers());
            let mut response = http::respond(request, client, &shared, admitted).await;
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
            let last = tokio::time::timeout(LAST_RESPONSE_TIMEOUT, connection).await;
            last.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(peer = %address, %error, "an HTTP connection ended early");
    }
}
