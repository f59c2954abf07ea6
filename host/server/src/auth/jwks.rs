//! Keys that a server publishes: fetched when they are needed, once for all who wait for them.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::header::ACCEPT;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use millrace_auth::{
    FetchTicket, JwksCache, KeySet, Lookup, ParsedJwks, PublicKeyAlgorithm, parse_jwks,
};
use millrace_telemetry::{Metric, Metrics};
use millrace_wasm::egress::tls_config;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::config::JwksConfig;

/// The keys at one address.
#[derive(Debug)]
pub(super) struct Jwks {
    uri: Uri,
    algorithms: Vec<PublicKeyAlgorithm>,
    timeout: Duration,
    max_bytes: usize,
    cache: Mutex<JwksCache>,
    /// The number of fetches that are over, for those who wait for one.
    finished: watch::Sender<u64>,
    /// It keeps no connections: they would be idle for an hour.
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    /// The runtime that fetches, whoever asks: a client may go while it waits.
    runtime: Handle,
    began: Instant,
    metrics: Metrics,
}

/// The reason why keys were not fetched.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the server did not answer within {0} ms (timeout_ms)")]
    Timeout(u128),
    #[error("the server answered with {0}; 200 is expected, and redirects are not followed")]
    Status(StatusCode),
    #[error("the answer has more than {0} bytes (max_bytes)")]
    TooLarge(usize),
    #[error(transparent)]
    Invalid(#[from] millrace_auth::JwksError),
}

impl FetchError {
    /// The result as one word, for the tag of a metric.
    fn result(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Status(_) => "status",
            Self::TooLarge(_) | Self::Invalid(millrace_auth::JwksError::TooLarge { .. }) => {
                "too_large"
            }
            Self::Invalid(_) => "invalid",
        }
    }
}

impl Jwks {
    /// The keys of a configured address; none is fetched yet.
    ///
    /// # Errors
    ///
    /// What is configured is not valid, which reading it has told before.
    pub(super) fn new(config: &JwksConfig, metrics: Metrics) -> Result<Arc<Self>, String> {
        let uri = config.uri().map_err(|problem| format!("auth.jwt.jwks.url {problem}"))?;
        let algorithms = config.public_algorithms()?;
        let https = HttpsConnectorBuilder::new().with_tls_config(tls_config());
        let https = https.https_or_http().enable_http1().build();
        Ok(Arc::new(Self {
            uri,
            algorithms,
            timeout: Duration::from_millis(config.timeout_ms),
            max_bytes: config.max_bytes,
            cache: Mutex::new(JwksCache::new(config.cache_settings())),
            finished: watch::Sender::new(0),
            client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(https),
            runtime: Handle::current(),
            began: Instant::now(),
            metrics,
        }))
    }

    /// The keys for a token with this key id, or with none. Waits for a fetch, if there are none
    /// or the id is not known, but not longer than for `timeout_ms`. `None` if there are none.
    pub(super) async fn keys(self: &Arc<Self>, kid: Option<&str>) -> Option<Arc<KeySet>> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        loop {
            // Before the look-up, so that no fetch ends unnoticed between them.
            let mut finished = self.finished.subscribe();
            let lookup = self.cache().lookup(kid, self.now_ms());
            match lookup {
                Lookup::Use(keys) => return Some(keys),
                Lookup::Unavailable { .. } => return None,
                Lookup::Fetch(ticket) => {
                    self.runtime.spawn(Arc::clone(self).fetch(ticket));
                }
                Lookup::Wait { .. } => {
                    let waited = tokio::time::timeout_at(deadline, finished.changed()).await;
                    if waited.is_err() {
                        // The keys from before, if there are any.
                        return match self.cache().lookup(None, self.now_ms()) {
                            Lookup::Use(keys) => Some(keys),
                            _ => None,
                        };
                    }
                }
            }
        }
    }

    /// Fetches the keys, and reports what came of it.
    async fn fetch(self: Arc<Self>, ticket: FetchTicket) {
        let fetched = match tokio::time::timeout(self.timeout, self.exchange()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Timeout(self.timeout.as_millis())),
        };
        let result = match fetched {
            Ok(ParsedJwks { keys, skipped }) => {
                info!(url = %self.uri, keys = keys.keys().len(), "fetched the keys of tokens");
                for key in skipped {
                    debug!(index = key.index, "a key is not used: {}", key.why);
                }
                self.cache().fetched(ticket, keys, self.now_ms());
                "ok"
            }
            Err(error) => {
                warn!(
                    url = %self.uri,
                    "the keys of tokens were not fetched (auth.jwt.jwks): {error}"
                );
                self.cache().failed(ticket, self.now_ms());
                error.result()
            }
        };
        self.metrics.count_of(Metric::AuthKeysFetched, &[result], 1);
        self.finished.send_modify(|finished| *finished = finished.wrapping_add(1));
    }

    async fn exchange(&self) -> Result<ParsedJwks, FetchError> {
        let unreachable = |error: &dyn Error| FetchError::Unreachable(chain(error));
        let request = Request::get(&self.uri).header(ACCEPT, "application/json");
        let request = request.body(Empty::new()).map_err(|error| unreachable(&error))?;
        let response = self.client.request(request).await.map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), self.max_bytes).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => FetchError::TooLarge(self.max_bytes),
            false => unreachable(&*error),
        })?;
        Ok(parse_jwks(&body.to_bytes(), &self.algorithms)?)
    }

    fn cache(&self) -> MutexGuard<'_, JwksCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The text of an error and of all its causes, as many errors say little themselves.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
