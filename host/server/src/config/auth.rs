//! `[auth]`: the tokens that clients have to show.

use hyper::Uri;
use millrace_auth::{
    Algorithm, CacheSettings, DEFAULT_MAX_TOKEN_BYTES, JwtRules, MAX_JWKS_BYTES, MAX_SECRETS,
    PhoenixRules, PublicKeyAlgorithm,
};
use serde::Deserialize;

use super::{defaults, host_of, is_loopback_name};
use crate::secret::Secret;

/// `[auth]`: the tokens that clients have to show before they get a socket.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// The name of a query parameter that may have the token of a client which has none in its
    /// subprotocols (`authToken` of phoenix.js).
    pub param: Option<String>,
    /// Whether clients without a token are refused. A wrong token is refused in any case.
    pub required: bool,
    /// The longest token in bytes.
    pub max_token_bytes: usize,
    /// The tokens of `Phoenix.Token`, if they are taken.
    pub phoenix_token: Option<PhoenixTokenConfig>,
    /// The JSON Web Tokens, if they are taken.
    pub jwt: Option<JwtConfig>,
}

/// `[auth.phoenix_token]`: tokens that an app with Phoenix signs with `Phoenix.Token.sign`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhoenixTokenConfig {
    /// The app's `secret_key_base`, and those that are rotated out: the first one signs, all
    /// verify.
    pub secrets: Vec<Secret>,
    /// The salt, the second argument of `Phoenix.Token.sign`.
    pub salt: String,
    /// The longest age of a token in seconds, which wins over that of the token.
    pub max_age_s: Option<u64>,
    /// The key of the user id in data that is a map; other data is the user id itself.
    #[serde(default = "default_user_id_key")]
    pub user_id: String,
}

/// `[auth.jwt]`: JSON Web Tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// The issuers (`iss`) of which tokens may be; without any, of each.
    pub issuers: Vec<String>,
    /// The audiences (`aud`), one of which a token has to be for; without any, tokens that have an
    /// audience are refused.
    pub audiences: Vec<String>,
    /// The time in seconds by which clocks may differ.
    pub leeway_s: u32,
    /// Whether tokens have to end (`exp`).
    pub require_expiry: bool,
    /// The claim that is the user id.
    pub user_id: String,
    /// The keys that are known beforehand.
    pub keys: Vec<JwtKeyConfig>,
    /// The address of further keys.
    pub jwks: Option<JwksConfig>,
}

/// `[[auth.jwt.keys]]`: one key, for one algorithm.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwtKeyConfig {
    /// The algorithm, the only one that the key is used for.
    pub algorithm: String,
    /// The id by which tokens name the key (`kid`).
    pub kid: Option<String>,
    /// The secret of an algorithm with HMAC (HS256, HS384, HS512).
    pub secret: Option<Secret>,
    /// Whether the secret is written in base64, and what it encodes is the key.
    #[serde(default)]
    pub base64: bool,
    /// The public key of any other algorithm, in PEM or as a JWK.
    pub public_key: Option<Secret>,
}

/// `[auth.jwt.jwks]`: keys that a server publishes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwksConfig {
    /// The address of the keys, `jwks_uri` of OpenID Connect.
    pub url: String,
    /// The algorithms that its keys may be for.
    pub algorithms: Vec<String>,
    /// The age in seconds at which keys are fetched anew.
    #[serde(default = "default_ttl")]
    pub ttl_s: u64,
    /// The time in milliseconds between two fetches because of key ids that are not known.
    #[serde(default = "default_refetch_interval")]
    pub refetch_interval_ms: u64,
    /// The time in milliseconds after which a fetch fails, and a client is refused that has waited
    /// for it.
    #[serde(default = "default_timeout")]
    pub timeout_ms: u64,
    /// The largest set of keys in bytes.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: usize,
}

fn default_user_id_key() -> String {
    PhoenixRules::default().user_id_key.into()
}

fn default_ttl() -> u64 {
    CacheSettings::default().ttl_ms / 1_000
}

fn default_refetch_interval() -> u64 {
    CacheSettings::default().refetch_interval_ms
}

fn default_timeout() -> u64 {
    defaults::JWKS_TIMEOUT_MS
}

fn default_max_bytes() -> usize {
    MAX_JWKS_BYTES
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            param: None,
            required: true,
            max_token_bytes: DEFAULT_MAX_TOKEN_BYTES,
            phoenix_token: None,
            jwt: None,
        }
    }
}

impl Default for JwtConfig {
    fn default() -> Self {
        let JwtRules { leeway_s, require_expiry, user_id_claim, .. } = JwtRules::default();
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            leeway_s,
            require_expiry,
            user_id: user_id_claim.into(),
            keys: Vec::new(),
            jwks: None,
        }
    }
}

/// The most seconds that clocks may differ by; beyond that, they are to be set.
const MAX_LEEWAY_S: u32 = 3_600;

impl AuthConfig {
    /// Checks what the types cannot, but for keys, which may be in files; an error begins with the
    /// key.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.phoenix_token.is_none() && self.jwt.is_none() {
            return Err(" has no keys; add [auth.phoenix_token] or [auth.jwt]".to_owned());
        }
        if self.param.as_deref().is_some_and(|param| param.is_empty() || param == "vsn") {
            let found = self.param.as_deref().unwrap_or_default();
            return Err(format!(
                ".param is {found:?}; the name of a query parameter such as \"token\" is expected"
            ));
        }
        if self.max_token_bytes == 0 {
            return Err(".max_token_bytes is 0; at least 1 is allowed".to_owned());
        }
        let of_phoenix = self.phoenix_token.iter().try_for_each(PhoenixTokenConfig::check);
        of_phoenix.map_err(|problem| format!(".phoenix_token.{problem}"))?;
        let of_jwt = self.jwt.iter().try_for_each(JwtConfig::check);
        of_jwt.map_err(|problem| format!(".jwt{problem}"))
    }

    /// All secrets and keys, each with its place.
    pub(super) fn secrets_mut(&mut self) -> Vec<(String, &mut Secret)> {
        let secrets = self.phoenix_token.iter_mut().flat_map(|config| &mut config.secrets);
        let secrets = secrets.enumerate().map(|(index, secret)| {
            let key = format!("auth.phoenix_token.secrets[{index}]");
            (key, secret)
        });
        let keys = self.jwt.iter_mut().flat_map(|config| &mut config.keys).enumerate();
        let keys = keys.flat_map(|(index, JwtKeyConfig { secret, public_key, .. })| {
            let place = move |key: &str| format!("auth.jwt.keys[{index}].{key}");
            let secret = secret.as_mut().map(|secret| (place("secret"), secret));
            secret.into_iter().chain(public_key.as_mut().map(|key| (place("public_key"), key)))
        });
        secrets.chain(keys).collect()
    }
}

impl PhoenixTokenConfig {
    fn check(&self) -> Result<(), String> {
        if !(1..=MAX_SECRETS).contains(&self.secrets.len()) {
            let found = self.secrets.len();
            return Err(format!(
                "secrets has {found} secrets; 1 to {MAX_SECRETS} are allowed: the one that signs, \
                 and those that are rotated out"
            ));
        }
        if self.max_age_s == Some(0) {
            return Err("max_age_s is 0, so that every token has expired; at least 1 is allowed, \
                        or none, for the age that each token has"
                .to_owned());
        }
        no_empty("user_id", &self.user_id)
    }

    pub(super) fn rules(&self) -> PhoenixRules {
        let max_age = self.max_age_s.map(millrace_auth::MaxAge::Seconds);
        PhoenixRules { max_age, user_id_key: self.user_id.as_str().into() }
    }
}

impl JwtConfig {
    fn check(&self) -> Result<(), String> {
        if self.keys.is_empty() && self.jwks.is_none() {
            return Err(" has no keys; add [[auth.jwt.keys]] or [auth.jwt.jwks]".to_owned());
        }
        if self.leeway_s > MAX_LEEWAY_S {
            let found = self.leeway_s;
            return Err(format!(
                ".leeway_s is {found}; 0 to {MAX_LEEWAY_S} are allowed, and for more the clocks \
                 are to be set"
            ));
        }
        no_empty("user_id", &self.user_id).map_err(|problem| format!(".{problem}"))?;
        for (index, key) in self.keys.iter().enumerate() {
            key.check().map_err(|problem| format!(".keys[{index}]{problem}"))?;
        }
        let of_jwks = self.jwks.iter().try_for_each(JwksConfig::check);
        of_jwks.map_err(|problem| format!(".jwks.{problem}"))
    }

    pub(super) fn rules(&self) -> JwtRules {
        JwtRules {
            issuers: self.issuers.clone(),
            audiences: self.audiences.clone(),
            leeway_s: self.leeway_s,
            require_expiry: self.require_expiry,
            user_id_claim: self.user_id.as_str().into(),
        }
    }
}

impl JwtKeyConfig {
    fn check(&self) -> Result<(), String> {
        let algorithm = self.algorithm().map_err(|problem| format!(".algorithm: {problem}"))?;
        let name = &self.algorithm;
        match (algorithm, &self.secret, &self.public_key) {
            (Algorithm::Hmac(_), Some(_), None) | (Algorithm::PublicKey(_), None, Some(_)) => {
                Ok(())
            }
            (Algorithm::Hmac(_), ..) => {
                Err(format!(" is for {name}, which needs `secret` and no `public_key`"))
            }
            (Algorithm::PublicKey(_), ..) => {
                Err(format!(" is for {name}, which needs `public_key` and no `secret`"))
            }
        }
    }

    /// The algorithm, if it is a known one.
    pub(crate) fn algorithm(&self) -> Result<Algorithm, String> {
        self.algorithm.parse().map_err(|error: millrace_auth::ConfigError| error.to_string())
    }
}

impl JwksConfig {
    fn check(&self) -> Result<(), String> {
        self.uri().map_err(|problem| {
            format!(
                "url is {:?}, {problem}; one such as \"https://id.example.com/jwks.json\" is \
                 expected",
                self.url
            )
        })?;
        if self.algorithms.is_empty() {
            return Err("algorithms is empty; list those that its keys are for, such as \
                        [\"RS256\"]"
                .to_owned());
        }
        self.public_algorithms().map_err(|problem| format!("algorithms: {problem}"))?;
        for (key, value) in [
            ("ttl_s", self.ttl_s),
            ("refetch_interval_ms", self.refetch_interval_ms),
            ("timeout_ms", self.timeout_ms),
        ] {
            if value == 0 {
                return Err(format!("{key} is 0; at least 1 is allowed"));
            }
        }
        if !(1..=MAX_JWKS_BYTES).contains(&self.max_bytes) {
            let found = self.max_bytes;
            return Err(format!("max_bytes is {found}; 1 to {MAX_JWKS_BYTES} are allowed"));
        }
        Ok(())
    }

    /// The address. The error says what is wrong with it.
    pub(crate) fn uri(&self) -> Result<Uri, &'static str> {
        let uri: Uri = self.url.parse().map_err(|_| "which is no URL")?;
        let authority = uri.authority().ok_or("which has no host")?.as_str();
        match uri.scheme_str() {
            _ if authority.contains('@') => Err("which has a user or a password"),
            Some("https") => Ok(uri),
            // Whoever is on the way could put keys of their own in.
            Some("http") if is_loopback_name(host_of(authority)) => Ok(uri),
            Some("http") => Err("and http is allowed for this machine alone"),
            _ => Err("whose scheme is not https"),
        }
    }

    /// The algorithms that its keys may be for; a secret is never published.
    pub(crate) fn public_algorithms(&self) -> Result<Vec<PublicKeyAlgorithm>, String> {
        let public = |name: &String| match name.parse::<Algorithm>() {
            Ok(Algorithm::PublicKey(algorithm)) => Ok(algorithm),
            Ok(Algorithm::Hmac(_)) => Err(format!(
                "{name} has a secret, which nobody publishes; RS, PS, ES and EdDSA are allowed"
            )),
            Err(error) => Err(error.to_string()),
        };
        self.algorithms.iter().map(public).collect()
    }

    /// The times of the cache.
    pub(crate) fn cache_settings(&self) -> CacheSettings {
        let settings = CacheSettings::default();
        let ttl_ms = self.ttl_s.saturating_mul(1_000);
        CacheSettings {
            ttl_ms,
            max_age_ms: settings.max_age_ms.max(ttl_ms.saturating_mul(2)),
            refetch_interval_ms: self.refetch_interval_ms,
            // Each fetch is reported when it is over; this is for one that was lost.
            fetch_timeout_ms: self.timeout_ms.saturating_mul(2),
            ..settings
        }
    }
}

fn no_empty(key: &str, value: &str) -> Result<(), String> {
    match value {
        "" => Err(format!("{key} is empty; leave it out, or give it a value")),
        _ => Ok(()),
    }
}
