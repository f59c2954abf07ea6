//! Egress: the requests of plugins to other servers.
//!
//! ```text
//! plugin ──▶ Egress: host allowed? ──▶ resolver: addresses allowed? ──▶ connection
//! ```
//!
//! A host that is allowed may have any address. So its addresses are checked in the same step in
//! which the connection is made: only an address that was checked is connected to. The server's own
//! listeners are refused, because they may trust connections that come from this machine. Redirects
//! are not followed, because the plugin has to decide about each of them.

mod addresses;
mod hosts;
mod request;
mod resolve;

pub use addresses::Network;
pub use hosts::HostPattern;
pub use request::{Request, Response};

use std::error::Error as _;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use addresses::{AddressDenied, AddressPolicy};
use resolve::Resolver;

/// `[plugins.NAME.http]`: the requests that a plugin may make. Without the section it may make
/// none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// The hosts that requests may go to: `api.example.com` (ports 80 and 443), `*.example.com`
    /// (all hosts below it), with `:PORT` or `:*` for other ports.
    pub hosts: Vec<HostPattern>,
    /// The addresses and networks, besides the public ones, that these hosts may have: `127.0.0.1`,
    /// `10.0.0.0/8`.
    pub addresses: Vec<Network>,
    /// Whether requests may go to this server's own listeners, including the admin interface, at
    /// such an address.
    pub own_listeners: bool,
    /// The time in milliseconds after which a request fails with `timeout`.
    pub timeout_ms: u64,
    /// The largest body of a request in bytes; a request with a larger one fails with `invalid`.
    pub max_request_bytes: usize,
    /// The largest body of a response in bytes; a request for a larger one fails with `too-large`.
    pub max_response_bytes: usize,
    /// The most requests of the plugin at the same time; a further one fails with `overloaded`.
    pub max_concurrent: usize,
}

/// The HTTP client of one plugin. It shares no connections with those of other plugins, which may
/// be allowed other addresses.
pub struct Egress {
    config: EgressConfig,
    allowed: Arc<AddressPolicy>,
    /// The client; `None` if no host is allowed, because the root certificates take some megabytes.
    client: Option<HttpClient>,
    /// The server's own ports, and the policy and client for requests to one of them.
    own_ports: OwnPorts,
    own_ports_client: OnceLock<(AddressPolicy, HttpClient)>,
    slots: Semaphore,
}

/// The ports that the server itself listens on, once it does.
#[derive(Clone, Debug, Default)]
pub struct OwnPorts(Arc<OnceLock<Vec<u16>>>);

impl OwnPorts {
    /// Sets the ports, once the server listens.
    pub fn set(&self, ports: Vec<u16>) {
        // It is called once for each server.
        let _ = self.0.set(ports);
    }

    fn contains(&self, port: u16) -> bool {
        self.0.get().is_some_and(|ports| ports.contains(&port))
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// The reason why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressError {
    /// The plugin's configuration does not allow the request; the text says why.
    Denied(String),
    /// The request is not valid; the text says why.
    Invalid(String),
    /// The server could not be reached, or the connection failed; the text says why.
    Unreachable(String),
    /// There was no response within `timeout_ms`, or the request's own limit.
    Timeout,
    /// The response's body is larger than `max_response_bytes`.
    TooLarge,
    /// There are `max_concurrent` requests already.
    Overloaded,
}

impl EgressError {
    /// The reason as one word, which metrics have as a label.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Denied(_) => "denied",
            Self::Invalid(_) => "invalid",
            Self::Unreachable(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
        }
    }
}

/// The time after which an idle connection is closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest head of a response in bytes; hyper also accepts at most 100 headers.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The configuration of TLS with this machine's root certificates, which are read once.
static TLS: LazyLock<ClientConfig> = LazyLock::new(|| {
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    #[expect(clippy::expect_used, reason = "ring has the protocol versions rustls has")]
    let builder = builder.with_safe_default_protocol_versions().expect("versions of ring");
    match builder.clone().with_native_roots() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "this machine has no root certificates: no https \
                server is reached; install ca-certificates, or name a file in SSL_CERT_FILE");
            builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
        }
    }
});

/// The configuration of TLS for a client that trusts this machine's root certificates.
pub fn tls_config() -> ClientConfig {
    TLS.clone()
}

impl Egress {
    /// The client of `plugin`.
    pub fn new(plugin: &str, config: EgressConfig) -> Self {
        let allowed = Arc::new(AddressPolicy::new(plugin, config.addresses.clone()));
        let client = (!config.hosts.is_empty()).then(|| client(&allowed));
        let slots = Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS));
        let (own_ports, own_ports_client) = (OwnPorts::default(), OnceLock::new());
        Self { config, allowed, client, own_ports, own_ports_client, slots }
    }

    /// The same client for a server that listens on these ports.
    pub fn with_own_ports(self, own_ports: OwnPorts) -> Self {
        Self { own_ports, ..self }
    }

    /// Sends a request, and waits for the whole response.
    ///
    /// # Errors
    ///
    /// As documented at [`EgressConfig`]: `max_concurrent` requests are under way, the request is
    /// not allowed or not valid, the server is not reached, or the time or the response's limit is
    /// exceeded.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        let _slot = self.slots.try_acquire().map_err(|_| EgressError::Overloaded)?;
        let longest = Duration::from_millis(self.config.timeout_ms);
        let limit = request.timeout.map_or(longest, |limit| limit.min(longest));
        let is_own = request.port().is_some_and(|port| self.own_ports.contains(port));
        let (allowed, client) = match is_own && !self.config.own_listeners {
            true => {
                let (allowed, client) =
                    self.own_ports_client.get_or_init(|| self.own_ports_client());
                (allowed, Some(client))
            }
            false => (&*self.allowed, self.client.as_ref()),
        };
        let request = request.checked(&self.config, allowed)?;
        // If no host is allowed, the check above has denied the request.
        let Some(client) = client else { return Err(EgressError::Denied(String::new())) };
        timeout(limit, self.exchange(client, request)).await.unwrap_or(Err(EgressError::Timeout))
    }

    /// The policy and client for the server's own ports. It is a client of its own because a
    /// resolver does not know the port.
    fn own_ports_client(&self) -> (AddressPolicy, HttpClient) {
        let allowed = self.allowed.without_own();
        let client = client(&Arc::new(allowed.clone()));
        (allowed, client)
    }

    async fn exchange(
        &self,
        client: &HttpClient,
        request: hyper::Request<Full<Bytes>>,
    ) -> Result<Response, EgressError> {
        let response = client.request(request).await.map_err(|error| failed(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, self.config.max_response_bytes);
        let body = body.collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                EgressError::TooLarge
            } else {
                EgressError::Unreachable(chain(&*error))
            }
        })?;
        Ok(Response::new(&head, body.to_bytes()))
    }

    /// The largest body of a request in bytes.
    pub fn max_request_bytes(&self) -> usize {
        self.config.max_request_bytes
    }

    /// The largest body of a response in bytes.
    pub fn max_response_bytes(&self) -> usize {
        self.config.max_response_bytes
    }
}

fn client(allowed: &Arc<AddressPolicy>) -> HttpClient {
    let mut http = HttpConnector::new_with_resolver(Resolver::new(Arc::clone(allowed)));
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new().with_tls_config(TLS.clone());
    let https = https.https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .build(https)
}

fn failed(error: &hyper_util::client::legacy::Error) -> EgressError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<AddressDenied>() {
            return EgressError::Denied(refused.to_string());
        }
        // `source` of an I/O error skips the error that it wraps.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<AddressDenied>()) {
            return EgressError::Denied(refused.to_string());
        }
        cause = error.source();
    }
    EgressError::Unreachable(chain(error))
}

/// The text of an error and of all its causes, as many errors say little themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").field("config", &self.config).finish_non_exhaustive()
    }
}
