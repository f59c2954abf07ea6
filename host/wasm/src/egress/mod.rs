//! Requests of plugins to other servers.
//!
//! ```text
//! plugin ──▶ Egress: host allowed? ──▶ resolver: addresses allowed? ──▶ connection
//! ```
//!
//! A name that is allowed may lead anywhere, so the addresses it has are looked
//! at when the connection is made, in the same step: what was looked at is what
//! is connected to. Its own listeners the server has nobody connect to by way of it:
//! what comes from this machine may be trusted there. Redirects are not followed, as each would need a decision
//! of the plugin.

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

use addresses::{Allowed, Refused};
use resolve::Resolver;

/// `[plugins.NAME.http]`: which requests a plugin may make. Without it, none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EgressConfig {
    /// The hosts it may send to: `api.example.com` (ports 80 and 443),
    /// `*.example.com` (all below it), with `:PORT` or `:*` for other ports.
    pub hosts: Vec<HostPattern>,
    /// Addresses and networks besides the public ones that the hosts may have:
    /// `127.0.0.1`, `10.0.0.0/8`.
    pub addresses: Vec<Network>,
    /// Whether it may connect to this server's own listeners, the admin interface
    /// among them, where they have such an address.
    pub own_listeners: bool,
    /// A request that takes longer fails with `timeout`.
    pub timeout_ms: u64,
    /// A request with a larger body fails with `invalid`.
    pub max_request_bytes: usize,
    /// A response with a larger body fails with `too-large`.
    pub max_response_bytes: usize,
    /// Requests of the plugin at the same time; a further one fails with
    /// `overloaded`.
    pub max_concurrent: usize,
}

/// The client of one plugin. It shares no connection with others, as they may
/// be allowed other addresses.
pub struct Egress {
    config: EgressConfig,
    allowed: Arc<Allowed>,
    /// None without hosts: the root certificates are some megabytes.
    client: Option<HttpClient>,
    /// The server's own ports, and what requests to one of them go by.
    own_ports: OwnPorts,
    beside: OnceLock<(Allowed, HttpClient)>,
    slots: Semaphore,
}

/// The ports that the server itself listens on, once it does.
#[derive(Clone, Debug, Default)]
pub struct OwnPorts(Arc<OnceLock<Vec<u16>>>);

impl OwnPorts {
    /// Known from now on.
    pub fn set(&self, ports: Vec<u16>) {
        // Once for each server.
        let _ = self.0.set(ports);
    }

    fn have(&self, port: u16) -> bool {
        self.0.get().is_some_and(|ports| ports.contains(&port))
    }
}

type HttpClient = Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>;

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EgressError {
    /// The host or its address is not allowed.
    Denied(String),
    /// The request is none, or too large.
    Invalid(String),
    /// No connection came about, or it broke.
    Unreachable(String),
    /// The answer took longer than `timeout_ms`.
    Timeout,
    /// The response has more than `max_response_bytes`.
    TooLarge,
    /// The plugin has `max_concurrent` requests under way.
    Overloaded,
}

impl EgressError {
    /// One word for metrics.
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

/// A connection that is not used for so long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// The head of a response; hyper takes no more than 100 headers, either.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The machine's root certificates, read once.
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

/// TLS as a client that trusts whom this machine trusts.
pub fn tls_config() -> ClientConfig {
    TLS.clone()
}

impl Egress {
    /// That of `plugin`.
    pub fn new(plugin: &str, config: EgressConfig) -> Self {
        let allowed = Arc::new(Allowed::new(plugin, config.addresses.clone()));
        let client = (!config.hosts.is_empty()).then(|| client(&allowed));
        let slots = Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS));
        let (own_ports, beside) = (OwnPorts::default(), OnceLock::new());
        Self { config, allowed, client, own_ports, beside, slots }
    }

    /// The same beside a server that listens on these ports itself.
    pub fn beside(self, own_ports: OwnPorts) -> Self {
        Self { own_ports, ..self }
    }

    /// Sends a request and waits for the whole response.
    pub async fn send(&self, request: Request) -> Result<Response, EgressError> {
        let _slot = self.slots.try_acquire().map_err(|_| EgressError::Overloaded)?;
        let longest = Duration::from_millis(self.config.timeout_ms);
        let limit = request.timeout.map_or(longest, |limit| limit.min(longest));
        let is_own = request.port().is_some_and(|port| self.own_ports.have(port));
        let (allowed, client) = match is_own && !self.config.own_listeners {
            true => {
                let (allowed, client) = self.beside.get_or_init(|| self.not_here());
                (allowed, Some(client))
            }
            false => (&*self.allowed, self.client.as_ref()),
        };
        let request = request.checked(&self.config, allowed)?;
        // Without hosts, the check has denied all of them.
        let Some(client) = client else { return Err(EgressError::Denied(String::new())) };
        timeout(limit, self.exchange(client, request)).await.unwrap_or(Err(EgressError::Timeout))
    }

    /// A client of its own, as a resolver is not told the port.
    fn not_here(&self) -> (Allowed, HttpClient) {
        let allowed = self.allowed.not_here();
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

    /// The bound of a request's body.
    pub fn max_request_bytes(&self) -> usize {
        self.config.max_request_bytes
    }

    /// The bound of a response's.
    pub fn max_response_bytes(&self) -> usize {
        self.config.max_response_bytes
    }
}

fn client(allowed: &Arc<Allowed>) -> HttpClient {
    let mut http = HttpConnector::new_with_resolver(Resolver::new(Arc::clone(allowed)));
    http.enforce_http(false);
    http.set_nodelay(true);
    let https = HttpsConnectorBuilder::new().with_tls_config(TLS.clone());
    let https = https.https_or_http().enable_http1().wrap_connector(http);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .build(https)
}

fn failed(error: &hyper_util::client::legacy::Error) -> EgressError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<Refused>() {
            return EgressError::Denied(refused.to_string());
        }
        // An io error hides what it was made of from `source`.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(refused) = inner.and_then(|inner| inner.downcast_ref::<Refused>()) {
            return EgressError::Denied(refused.to_string());
        }
        cause = error.source();
    }
    EgressError::Unreachable(chain(error))
}

/// An error with its causes, as many of them say nothing themselves.
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
