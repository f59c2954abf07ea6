//! Clients that prove who they are: `[auth]`, before any plugin is asked.
//!
//! ```text
//! ConnectRequest ─▶ Auth ─ token ─▶ Verifier ─▶ VerifiedToken | AuthRefusal, counted and logged
//!                    │                 ▲
//!                    └─ kid ─▶ jwks ───┘ keys that are fetched, in one fetch for all who wait
//! ```
//!
//! The crate `millrace-auth` decides; here are its clock, its network and its secrets, which may
//! be read anew while the server runs.

mod jwks;
mod sign;

pub(crate) use sign::{DEV_KID, Signer, Wanted};

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use bytestring::ByteString;
use millrace_auth::{Identity, KeySet, Refusal, TokenForm, Verifier};
use millrace_session::Token;
use millrace_telemetry::{Metric, Metrics, unix_ms};
use millrace_wasm::ConnectRequest;
use smol_str::SmolStr;
use tracing::{debug, info, warn};

use self::jwks::Jwks;
use crate::config::{AuthConfig, AuthKeys};

/// What looks at the tokens of clients; without `[auth]` it lets everybody in, as nobody.
#[derive(Debug)]
pub(crate) struct Auth(Option<Box<Tokens>>);

/// A token that was found right.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedToken {
    /// The user, if the token names one.
    pub(crate) user_id: Option<SmolStr>,
    /// The content that the connection keeps.
    pub(crate) token: Arc<Token>,
}

/// The reason why a client is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AuthRefusal {
    /// The client has no token, and needs one.
    #[error("the client has no token, and `auth.required` is true")]
    Missing,
    /// The token is not right.
    #[error(transparent)]
    Token(#[from] Refusal),
}

impl AuthRefusal {
    /// A stable short name, for the tag of a metric.
    fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Token(refusal) => refusal.reason(),
        }
    }
}

impl Auth {
    /// The check that an app asks for. Keys that are published are fetched at once.
    ///
    /// # Errors
    ///
    /// A key or secret cannot be used; the text begins with its key in `millrace.toml`.
    pub(crate) fn new(config: Option<&AuthConfig>, metrics: &Metrics) -> Result<Self, String> {
        let Some(config) = config else { return Ok(Self(None)) };
        let of_jwks = config.jwt.as_ref().and_then(|jwt| jwt.jwks.as_ref());
        let jwks = of_jwks.map(|jwks| Jwks::new(jwks, metrics.clone())).transpose()?;
        if let Some(jwks) = jwks.clone() {
            tokio::spawn(async move { jwks.keys(None).await });
        }
        let current = ArcSwap::from_pointee(Current::of(config)?);
        let (config, metrics) = (config.clone(), metrics.clone());
        let renewing = Mutex::new(());
        Ok(Self(Some(Box::new(Tokens { config, current, renewing, jwks, metrics }))))
    }

    /// Whether clients have to show tokens, or may.
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The name of the query parameter that may have a token.
    pub(crate) fn param(&self) -> Option<&str> {
        self.0.as_ref().and_then(|tokens| tokens.config.param.as_deref())
    }

    /// Verifies the token of a client: that of its bearer subprotocol, or else of the parameter
    /// `auth.param`. `None` if it has none and needs none. A refusal has been counted and logged.
    ///
    /// # Errors
    ///
    /// The client is refused; whoever answers it says no more than 403.
    pub(crate) async fn verify(
        &self,
        request: &ConnectRequest,
    ) -> Result<Option<VerifiedToken>, AuthRefusal> {
        let Some(tokens) = &self.0 else { return Ok(None) };
        let identity = match tokens.token_of(request) {
            None if !tokens.config.required => return Ok(None),
            None => Err(AuthRefusal::Missing),
            Some(token) => tokens.identity(token).await.map_err(AuthRefusal::from),
        };
        let identity = identity.inspect_err(|refusal| self.note_refused(&request.peer, refusal))?;
        let Identity { user_id, claims, expires_at_unix_ms } = identity;
        let claims = ByteString::from(claims.to_string());
        let token = Arc::new(Token { claims, expires_at_unix_ms });
        Ok(Some(VerifiedToken { user_id, token }))
    }

    /// Counts and logs that a client was refused.
    pub(crate) fn note_refused(&self, peer: &str, refusal: &AuthRefusal) {
        let (Some(tokens), reason) = (&self.0, refusal.reason()) else { return };
        tokens.metrics.count_of(Metric::AuthRefused, &[reason], 1);
        debug!(peer, reason, "refused a client: {refusal}");
    }
}

/// The tokens that an app takes.
#[derive(Debug)]
struct Tokens {
    config: AuthConfig,
    current: ArcSwap<Current>,
    /// Held by whoever makes the keys anew.
    renewing: Mutex<()>,
    jwks: Option<Arc<Jwks>>,
    metrics: Metrics,
}

/// The keys, and the texts of the secrets that they were made of.
#[derive(Debug)]
struct Current {
    texts: Vec<Arc<String>>,
    keys: AuthKeys,
}

impl Current {
    fn of(config: &AuthConfig) -> Result<Self, String> {
        // Read before the keys are made of them, so that no change is missed.
        let texts = config.secrets().map(|secret| secret.get()).collect();
        Ok(Self { texts, keys: config.keys()? })
    }

    /// Whether no secret has changed since.
    fn is_of(&self, config: &AuthConfig) -> bool {
        let mut texts = self.texts.iter();
        config.secrets().all(|secret| texts.next().is_some_and(|text| *text == secret.get()))
    }
}

impl Tokens {
    /// The token that a client shows. An empty one is none.
    fn token_of<'r>(&self, request: &'r ConnectRequest) -> Option<&'r str> {
        let named = |param: &String| {
            let mut params = request.params.iter().rev();
            params.find(|(name, _)| name == param).map(|(_, token)| token.as_str())
        };
        let bearer = request.auth_token.as_deref().filter(|token| !token.is_empty());
        let param = || self.config.param.as_ref().and_then(named);
        bearer.or_else(param).filter(|token| !token.is_empty())
    }

    async fn identity(&self, token: &str) -> Result<Identity, Refusal> {
        let current = self.current();
        let AuthKeys { verifier, configured } = &current.keys;
        let kid = match (verifier.form(token)?, &self.jwks) {
            (TokenForm::Jwt { kid }, Some(_)) if !has_kid(configured, kid.as_ref()) => kid,
            _ => return verifier.verify(token, unix_ms()),
        };
        let Some(jwks) = &self.jwks else { return verifier.verify(token, unix_ms()) };
        match jwks.keys(kid.as_deref()).await {
            Some(keys) => verifier.verify_with_keys(token, &keys, unix_ms()),
            None => without_fetched(verifier, token),
        }
    }

    /// The keys of the secrets as they are now.
    fn current(&self) -> Arc<Current> {
        let current = self.current.load_full();
        if current.is_of(&self.config) {
            return current;
        }
        let _renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        if current.is_of(&self.config) {
            return current;
        }
        let texts = self.config.secrets().map(|secret| secret.get()).collect();
        let renewed = match self.config.keys() {
            Ok(keys) => {
                info!("the keys of [auth] are those of the secrets as they are now");
                Current { texts, keys }
            }
            Err(problem) => {
                warn!("{problem}; the keys of [auth] stay as they were until it is in order");
                Current { texts, keys: current.keys.clone() }
            }
        };
        let renewed = Arc::new(renewed);
        self.current.store(Arc::clone(&renewed));
        renewed
    }
}

fn has_kid(configured: &KeySet, kid: Option<&SmolStr>) -> bool {
    kid.is_some_and(|kid| configured.has_kid(kid))
}

/// Verifies a token while no keys could be fetched. What only a fetched key could have told is not
/// the token's fault.
fn without_fetched(verifier: &Verifier, token: &str) -> Result<Identity, Refusal> {
    verifier.verify(token, unix_ms()).map_err(|refusal| match refusal {
        Refusal::UnknownKey
        | Refusal::WrongAlgorithm
        | Refusal::AmbiguousKey { .. }
        | Refusal::BadSignature => Refusal::KeysUnavailable,
        other => other,
    })
}

#[cfg(test)]
mod tests;
