//! Accepting operators' connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, info};

use super::{access, routes};
use crate::config::AdminConfig;
use crate::server::{Shared, StartError};
use crate::telemetry::Metric;
use crate::transport::{self, Body, MAX_HEADER_BYTES, MAX_TURNED_AWAY};

/// Listens for operators; an error if anybody could reach it and do anything.
pub(crate) async fn bind(config: &AdminConfig) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = config.listen;
    if config.is_open_to_others() {
        return Err(StartError::AdminToken(address));
    }
    let listener = match TcpListener::bind(address).await {
        Err(error) if config.any_port && error.kind() == io::ErrorKind::AddrInUse => {
            info!("{address} is taken; the admin interface gets another port");
            TcpListener::bind((address.ip(), 0)).await
        }
        bound => bound,
    };
    let failed = |cause| StartError::ListenAdmin { address, cause };
    let listener = listener.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Accepts connections until it is dropped: also while the server starts and
/// drains.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let Some(config) = shared.admin.clone().map(Arc::new) else { return };
    let room = Arc::new(Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)));
    let turning = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    loop {
        let (stream, peer) = transport::next(&listener).await;
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            shared.metrics.count(Metric::AdminRefused, 1);
            debug!(%peer, "turned an operator away (admin.max_connections)");
            transport::spawn_bounded(&turning, transport::turn_away(stream));
            continue;
        };
        let serving = serve(stream, peer, Arc::clone(&config), Arc::clone(&shared));
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, config: Arc<AdminConfig>, shared: Arc<Shared>) {
    let timeout = Duration::from_millis(config.timeout_ms);
    let service = service_fn(move |request| {
        let (config, shared) = (Arc::clone(&config), Arc::clone(&shared));
        async move { Ok::<_, Infallible>(respond(request, peer, &config, &shared).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeout)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(%peer, %error, "an operator's connection ended early");
    }
}

/// Answers one request, and counts it.
async fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    config: &AdminConfig,
    shared: &Arc<Shared>,
) -> Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let asked = request.headers().clone();
    let found = routes::find(&method, &path);
    let route = found.as_ref().map_or("none", |(route, _)| route.name);
    let mut response = match access::check_page(config, &asked) {
        Err(problem) => problem.response(),
        // Browsers ask without the token.
        Ok(()) if method == Method::OPTIONS => access::preflight(),
        Ok(()) => match (access::check_token(config, &asked), found) {
            (Err(problem), _) | (Ok(()), Err(problem)) => problem.response(),
            (Ok(()), Ok(found)) => {
                let patience = Duration::from_millis(config.timeout_ms);
                routes::run(found, request, shared, patience).await
            }
        },
    };
    access::finish(config, &asked, &mut response);
    let status = response.status();
    match method {
        Method::GET | Method::OPTIONS => debug!(%peer, %method, path, %status, "answered"),
        // Whoever looks for what happened wants to know.
        _ => info!(%peer, %method, path, %status, "an operator asked"),
    }
    let class = format!("{}xx", status.as_u16() / 100);
    shared.metrics.count_of(Metric::AdminRequests, &[route, &class], 1);
    response
}
