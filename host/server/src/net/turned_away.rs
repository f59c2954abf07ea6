//! Connections that are accepted, but not served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_telemetry::LogLimiter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::warn;

use super::acceptor::{Acceptor, Socket};
use super::listeners::Listener;
use super::peer::Peer;
use super::places::Places;

/// The wait after a failed accept, which is most likely for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// The connections of one listener that get an answer at the same time although there is no room
/// for them; others are closed without an answer.
const MAX_TURNED_AWAY: usize = 256;
/// The same for one address, which may be that of a proxy.
const MAX_TURNED_AWAY_PER_ADDRESS: usize = 64;
/// The most time that one such answer takes.
pub(crate) const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(2);

/// The bytes that are read and ignored of a request that gets this answer whatever it says.
const MAX_DISCARDED_BYTES: usize = 64 * 1024;

/// The places for connections that get an answer, but are not served.
pub(crate) fn unserved_places() -> Places {
    Places::new(MAX_TURNED_AWAY, MAX_TURNED_AWAY_PER_ADDRESS)
}

/// The limit of log lines: without file descriptors, each accept fails.
static FAILED: LogLimiter = LogLimiter::one_a_second();

/// Accepts the next connection, and returns it with the client's address. A failed accept is tried
/// again.
pub(crate) async fn accept_next(listener: &Listener) -> (Socket, Option<SocketAddr>) {
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

/// Answers 503 to a client, whatever it asks for; closes the connection if all places are taken.
pub(crate) fn turn_away(places: &Places, acceptor: &Arc<Acceptor>, socket: Socket, peer: Peer) {
    let Some(place) = places.take(peer.ip()) else { return };
    let acceptor = Arc::clone(acceptor);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, async {
            if let Ok((stream, _)) = acceptor.open(socket, peer).await {
                let _ = respond(stream, BUSY).await;
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

/// Answers 400 to a client that speaks plain HTTP where TLS is expected.
pub(crate) async fn answer_without_tls(socket: TcpStream) -> io::Result<()> {
    respond(socket, SPEAK_TLS).await
}

async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin, what: &[u8]) -> io::Result<()> {
    stream.write_all(what).await?;
    stream.shutdown().await?;
    // Closing a socket with unread bytes would reset the connection, and the answer would be lost.
    let mut request = [0; 1024];
    let mut left = MAX_DISCARDED_BYTES;
    let discard = async {
        while left > 0 {
            match stream.read(&mut request).await? {
                0 => break,
                read => left = left.saturating_sub(read),
            }
        }
        Ok(())
    };
    tokio::time::timeout(TURN_AWAY_TIMEOUT, discard).await.unwrap_or(Ok(()))
}
