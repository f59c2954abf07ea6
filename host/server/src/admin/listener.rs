//! The listener of the admin interface: it accepts operators' connections.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioTimer;
use millrace_telemetry::{LogLimiter, Metric};
use tokio::net::TcpListener;
use tracing::{debug, info, warn};

use super::standing::{Lobby, STRANGER_TIMEOUT, Standing};
use super::{Problem, access, routes};
use crate::config::AdminConfig;
use crate::http::{self, Body, MAX_HEADER_BYTES};
use crate::net::{self, Acceptor, Listener, Paced, Stream};
use crate::node::{Node, StartError};
use crate::swap::Swapper;

/// Listens for operators.
///
/// # Errors
///
/// The address cannot be listened on, or is not on loopback although there is no token, so that
/// anybody could do anything.
pub(crate) async fn bind(
    config: &AdminConfig,
    inherited: Option<std::net::TcpListener>,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let address = config.listen;
    let failed = |cause| StartError::ListenAdmin { address, cause };
    if let Some(listener) = inherited {
        let address = listener.local_addr().map_err(failed)?;
        if config.token.is_none() && !address.ip().is_loopback() {
            return Err(StartError::AdminToken(address));
        }
        listener.set_nonblocking(true).map_err(failed)?;
        return Ok((TcpListener::from_std(listener).map_err(failed)?, address));
    }
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
    let listener = listener.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Accepts connections until it is dropped, also while the server starts and drains.
pub(crate) async fn accept(listener: TcpListener, acceptor: Arc<Acceptor>, swapper: Swapper) {
    let node = Arc::clone(swapper.node());
    let Some(config) = node.admin.clone().map(Arc::new) else { return };
    let (lobby, unserved) = (Lobby::new(&config), net::unserved_places());
    let listener = Listener::Tcp(listener);
    loop {
        let (socket, of) = net::accept_next(&listener).await;
        let peer = acceptor.peer(of);
        let Some(standing) = lobby.enter(peer.ip()) else {
            node.metrics.count(Metric::AdminRefused, 1);
            debug!(peer = %peer.address, "turned an operator away (admin.max_connections)");
            net::turn_away(&unserved, &acceptor, socket, peer);
            continue;
        };
        let (config, swapper, acceptor) =
            (Arc::clone(&config), swapper.clone(), Arc::clone(&acceptor));
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            let opened = tokio::time::timeout(STRANGER_TIMEOUT, acceptor.open(socket, peer)).await;
            let problem = match opened {
                Ok(Ok((stream, peer))) => {
                    return serve(stream, peer.address, standing, config, swapper).await;
                }
                Ok(Err(problem)) => problem.to_string(),
                Err(_) => "it did not speak TLS in time".to_owned(),
            };
            node.metrics.count(Metric::AdminRefused, 1);
            debug!(peer = %peer.address, problem, "closed an operator's connection");
        });
    }
}

async fn serve(
    stream: Stream,
    peer: SocketAddr,
    standing: Standing,
    config: Arc<AdminConfig>,
    swapper: Swapper,
) {
    let timeout = Duration::from_millis(config.timeout_ms);
    let node = swapper.node();
    let stream = Paced::new(stream, timeout, node.metrics.clone());
    let idle = Duration::from_millis(node.socket.keep_alive_timeout_ms).max(timeout);
    let first = http::FirstRequest::new();
    let (came, metrics) = (first.clone(), node.metrics.clone());
    let standing = Arc::new(standing);
    let asking = Arc::clone(&standing);
    let service = service_fn(move |request: Request<Incoming>| {
        let (standing, config) = (Arc::clone(&asking), Arc::clone(&config));
        let swapper = swapper.clone();
        came.note_arrival();
        async move {
            let has_body = !request.body().is_end_stream();
            let mut response = respond(request, peer, &standing, &config, &swapper).await;
            let is_refused = response.status().is_client_error();
            http::close_unread(has_body && is_refused, &mut response);
            Ok::<_, Infallible>(response)
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle)
        .max_buf_size(MAX_HEADER_BYTES)
        .serve_connection(stream, service);
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                debug!(%peer, %error, "an operator's connection ended early");
            }
        }
        true = first.is_late(timeout) => {
            metrics.count_of(Metric::RequestCutOff, &["head"], 1);
            debug!(%peer, "an operator did not ask in time");
        }
        () = standing.is_over() => debug!(%peer, "a stranger did not give the token in time"),
    }
}

/// Answers one request, and counts it.
async fn respond(
    request: Request<Incoming>,
    peer: SocketAddr,
    standing: &Standing,
    config: &AdminConfig,
    swapper: &Swapper,
) -> Response<Body> {
    let node = swapper.node();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let headers = request.headers().clone();
    let found = routes::find(&method, &path);
    let route = found.as_ref().map_or("none", |(route, _)| route.name);
    let host = match http::host(&request) {
        Ok(host) => host,
        Err(bad) => return *bad,
    };
    let mut response = match access::check_page(config, host.as_deref(), &headers) {
        Err(problem) => problem.response(),
        // Browsers ask without the token.
        Ok(()) if method == Method::OPTIONS => access::preflight(&routes::methods(&path)),
        Ok(()) => match (access::check_token(config, &headers), found) {
            (Err(problem), _) => {
                tell_of_stranger(peer, &path, node);
                problem.response()
            }
            (Ok(()), _) if !standing.admit() => full(node).response(),
            (Ok(()), Err(problem)) => problem.response(),
            (Ok(()), Ok(found)) => {
                let timeout = Duration::from_millis(config.timeout_ms);
                routes::run(found, request, swapper, timeout).await
            }
        },
    };
    access::finish(config, &headers, &mut response);
    let status = response.status();
    match method {
        Method::GET | Method::OPTIONS => debug!(%peer, %method, path, %status, "answered"),
        // Whoever looks for what happened wants to know.
        _ => info!(%peer, %method, path, %status, "an operator asked"),
    }
    let class = format!("{}xx", status.as_u16() / 100);
    node.metrics.count_of(Metric::AdminRequests, &[route, &class], 1);
    response
}

/// The limit of log lines that any stranger can cause.
static STRANGERS: LogLimiter = LogLimiter::one_a_second();

/// Counts and logs a request without the right token.
fn tell_of_stranger(peer: SocketAddr, path: &str, node: &Node) {
    node.metrics.count(Metric::AdminUnauthorized, 1);
    if let Some(line) = STRANGERS.pass() {
        let left_out = line.left_out();
        warn!(%peer, path, left_out, "somebody asked without the token, or with another");
    }
}

/// The problem when operators have all connections that there may be (`admin.max_connections`).
fn full(node: &Node) -> Problem {
    node.metrics.count(Metric::AdminRefused, 1);
    let text = "there are as many connections of operators as there may be";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, text);
    problem.retry_after(5).advice("raise admin.max_connections, or close some")
}
