//! Tokens that are signed here, for development.

use millrace_auth::{
    Algorithm, HmacAlgorithm, JwtSigner, MaxAge, PhoenixKeys, Secret as AuthSecret,
};
use serde_json::{Map, Value};

use crate::config::{AuthConfig, JwtKeyConfig, Secret};

/// The key id of the development secret.
pub(crate) const DEV_KID: &str = "millrace-dev";

/// What signs tokens that an app takes.
#[derive(Debug)]
pub(crate) enum Signer {
    /// Phoenix tokens; data that is a map has the user under this key.
    Phoenix {
        /// The keys, the first of which signs.
        keys: Box<PhoenixKeys>,
        /// The key of the user id.
        user_id: String,
    },
    /// JSON Web Tokens.
    Jwt {
        /// The key.
        signer: Box<JwtSigner>,
        /// The claims that each token gets, unless it has others: issuer and audience.
        claims: Map<String, Value>,
        /// The claim that is the user id.
        user_id: String,
    },
}

/// The content of a token to sign.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The user id.
    pub(crate) user: Option<String>,
    /// More claims, or more of the data.
    pub(crate) claims: Map<String, Value>,
    /// The time in seconds for which it is valid.
    pub(crate) expires_in_s: u64,
}

impl Signer {
    /// The signer of the first kind that is configured and has a secret.
    ///
    /// # Errors
    ///
    /// There is none, or its secret cannot be used.
    pub(crate) fn of(config: &AuthConfig) -> Result<Self, String> {
        if let Some(phoenix) = &config.phoenix_token {
            let keys = phoenix.keys().map_err(|error| format!("auth.phoenix_token: {error}"))?;
            return Ok(Self::Phoenix { keys: Box::new(keys), user_id: phoenix.user_id.clone() });
        }
        let keys = config.jwt.iter().flat_map(|jwt| &jwt.keys);
        let mut secrets = keys.filter_map(|key| match key.algorithm() {
            Ok(Algorithm::Hmac(algorithm)) => Some((key, algorithm)),
            _ => None,
        });
        let Some((key, algorithm)) = secrets.next() else {
            return Err("[auth] has no secret, and with public keys nothing can be signed; give \
                        --secret, or take a token of who has the private key"
                .to_owned());
        };
        let secret = key.secret().map_err(|error| format!("auth.jwt.keys: {error}"))?;
        Self::jwt(config, algorithm, &secret, key.kid.as_deref())
    }

    /// The signer of a secret that [`Self::accept`] has had an app take.
    ///
    /// # Errors
    ///
    /// The secret is too short.
    pub(crate) fn of_dev(config: &AuthConfig, secret: &str) -> Result<Self, String> {
        let secret = AuthSecret::from_text(secret);
        if let Some(phoenix) = &config.phoenix_token {
            let keys = PhoenixKeys::derive(&[secret], &phoenix.salt);
            let keys = keys.map_err(|error| error.to_string())?;
            return Ok(Self::Phoenix { keys: Box::new(keys), user_id: phoenix.user_id.clone() });
        }
        Self::jwt(config, HmacAlgorithm::Hs256, &secret, Some(DEV_KID))
    }

    /// Has an app take tokens that are signed with this secret, besides its own.
    pub(crate) fn accept(config: &mut AuthConfig, secret: &str) {
        if let Some(phoenix) = &mut config.phoenix_token {
            phoenix.secrets.push(Secret::new(secret));
        } else if let Some(jwt) = &mut config.jwt {
            jwt.keys.push(JwtKeyConfig {
                algorithm: HmacAlgorithm::Hs256.name().to_owned(),
                kid: Some(DEV_KID.to_owned()),
                secret: Some(Secret::new(secret)),
                base64: false,
                public_key: None,
            });
        }
    }

    /// A signer of JWTs for the app that this is the configuration of.
    fn jwt(
        config: &AuthConfig,
        algorithm: HmacAlgorithm,
        secret: &AuthSecret,
        kid: Option<&str>,
    ) -> Result<Self, String> {
        let signer = JwtSigner::new(algorithm, secret, kid.map(Into::into));
        let signer = Box::new(signer.map_err(|error| error.to_string())?);
        let jwt = config.jwt.clone().unwrap_or_default();
        let first = |names: &[String]| names.first().cloned().map(Value::from);
        let fixed = [("iss", first(&jwt.issuers)), ("aud", first(&jwt.audiences))];
        let fixed = fixed.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Ok(Self::Jwt { signer, claims: fixed.collect(), user_id: jwt.user_id })
    }

    /// Signs a token.
    ///
    /// # Errors
    ///
    /// The claims cannot be signed.
    pub(crate) fn sign(&self, wanted: Wanted, now_unix_ms: u64) -> Result<String, String> {
        let Wanted { user, mut claims, expires_in_s } = wanted;
        match self {
            Self::Phoenix { keys, user_id } => {
                let data = match user {
                    Some(user) if claims.is_empty() => Value::from(user),
                    user => {
                        claims.extend(user.map(|user| (user_id.clone(), Value::from(user))));
                        Value::Object(claims)
                    }
                };
                let signed = keys.sign(&data, now_unix_ms, MaxAge::Seconds(expires_in_s));
                signed.map_err(|error| error.to_string())
            }
            Self::Jwt { signer, claims: fixed, user_id } => {
                let now_s = now_unix_ms / 1_000;
                let mut all = fixed.clone();
                all.insert("iat".to_owned(), now_s.into());
                all.insert("exp".to_owned(), now_s.saturating_add(expires_in_s).into());
                all.append(&mut claims);
                all.extend(user.map(|user| (user_id.clone(), Value::from(user))));
                Ok(signer.sign(&all))
            }
        }
    }
}
