//! Claims → token, for development and tests.

use std::fmt;

use ring::hmac;
use serde_json::{Map, Value, json};
use smol_str::SmolStr;

use super::HmacAlgorithm;
use super::key::hmac_key;
use crate::encoding::encode_base64url;
use crate::{ConfigError, Secret};

/// A signer with a shared secret. Claims are signed as they are: whoever calls says what `exp` is.
#[derive(Clone)]
pub struct JwtSigner {
    algorithm: HmacAlgorithm,
    key: hmac::Key,
    kid: Option<SmolStr>,
}

impl fmt::Debug for JwtSigner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JwtSigner({})", self.algorithm.name())
    }
}

impl JwtSigner {
    /// A signer for an algorithm, whose tokens name a key id if one is given.
    ///
    /// # Errors
    ///
    /// The secret is shorter than the digest, or is the text of a key.
    pub fn new(
        algorithm: HmacAlgorithm,
        secret: &Secret,
        kid: Option<SmolStr>,
    ) -> Result<Self, ConfigError> {
        Ok(Self { algorithm, key: hmac_key(algorithm, secret)?, kid })
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Map<String, Value>) -> String {
        let mut header = json!({"alg": self.algorithm.name(), "typ": "JWT"});
        if let (Some(kid), Value::Object(header)) = (&self.kid, &mut header) {
            header.insert("kid".to_owned(), Value::from(kid.as_str()));
        }
        let claims = serde_json::to_string(claims).unwrap_or_default();
        let header = encode_base64url(header.to_string().as_bytes());
        let mut token = format!("{header}.{}", encode_base64url(claims.as_bytes()));
        let mac = hmac::sign(&self.key, token.as_bytes());
        token.push('.');
        token.push_str(&encode_base64url(mac.as_ref()));
        token
    }
}
