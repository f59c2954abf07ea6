//! Accepting connections.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, warn};

use super::http;
use crate::server::Shared;

/// How long to wait after an accept that failed, most likely for want of file
/// descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A request's headers; longer ones get 431.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How long a response may still take when the server stops.
const LAST_RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Accepts connections until it is dropped.
pub async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&shared.permits).try_acquire_owned() else {
            debug!(%peer, "closed a connection above socket.max_connections");
            continue;
        };
        tokio::spawn(serve(stream, peer, permit, Arc::clone(&shared)));
    }
}

/// Serves HTTP on one connection, until it becomes a WebSocket or ends.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    shared: Arc<Shared>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "failed to set TCP_NODELAY");
    }
    let timeout = Duration::from_millis(shared.socket.handshake_timeout_ms);
    let mut stopping = shared.stopping.subscribe();
    // The WebSocket goes on after HTTP is over, and takes the permit with it.
    let permit = Arc::new(permit);
    let service = service_fn(move |request| {
        let (shared, permit) = (Arc::clone(&shared), Arc::clone(&permit));
        async move { Ok::<_, Infallible>(http::respond(request, peer, &shared, permit).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = async { stopping.wait_for(|stopping| *stopping).await.is_ok() } => {
            connection.as_mut().graceful_shutdown();
            let last = tokio::time::timeout(LAST_RESPONSE_TIMEOUT, connection).await;
            last.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = served {
        debug!(%peer, %error, "an HTTP connection ended early");
    }
}
