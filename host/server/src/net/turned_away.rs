//! Connections that are accepted and not served.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millrace_telemetry::LogLimiter;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::warn;

use super::door::{Door, Socket};
use super::listeners::Listener;
use super::peer::Peer;
use super::places::Places;

/// How long to wait after an accept that failed, most likely for want of file
/// descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Connections of one listener that are answered at the same time although there is no room
/// for them; others are closed without a word.
const MAX_TURNED_AWAY: usize = 256;
/// Of one address: a proxy's, and a monitor's behind it.
const TURNED_AWAY_OF_ADDRESS: usize = 64;
/// How long each of them may take.
pub(crate) const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(2);

/// What is read and not looked at of a request that is answered whatever it says, in bytes.
const MAX_UNHEARD_BYTES: usize = 64 * 1024;

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
pub(crate) async fn say_tls(socket: TcpStream) -> io::Result<()> {
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
