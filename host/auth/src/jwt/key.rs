//! A key with its one algorithm.

use std::fmt;

use ring::hmac;
use smol_str::SmolStr;

use super::{Algorithm, HmacAlgorithm, PublicKey, PublicKeyAlgorithm, der, pem};
use crate::jwks::Jwk;
use crate::{ConfigError, Secret};

/// The length of a key id at most, in bytes.
pub(crate) const MAX_KID_BYTES: usize = 256;

/// A key that tokens are verified with, for one algorithm alone.
#[derive(Clone)]
pub struct JwtKey {
    kid: Option<SmolStr>,
    material: Material,
}

/// A secret is never public and a public key never secret, so neither is used as the other.
#[derive(Clone)]
enum Material {
    Secret(HmacAlgorithm, hmac::Key),
    Public(PublicKeyAlgorithm, PublicKey),
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("JwtKey");
        shown.field("algorithm", &self.algorithm().name()).field("kid", &self.kid).finish()
    }
}

impl JwtKey {
    /// A secret, as the key of an algorithm with HMAC.
    ///
    /// # Errors
    ///
    /// The secret is shorter than the digest, or is the text of a key.
    pub fn hmac(algorithm: HmacAlgorithm, secret: &Secret) -> Result<Self, ConfigError> {
        let material = Material::Secret(algorithm, hmac_key(algorithm, secret)?);
        Ok(Self { kid: None, material })
    }

    /// A public key in PEM (`PUBLIC KEY`) or as a JWK, for an algorithm. A JWK brings its `kid`.
    ///
    /// # Errors
    ///
    /// The text is no public key, or one that the algorithm does not take or that is too weak.
    pub fn public(algorithm: PublicKeyAlgorithm, text: &str) -> Result<Self, ConfigError> {
        let (public_key, kid) = if text.trim_start().starts_with('{') {
            let jwk = Jwk::parse(text)?;
            if jwk.algorithm.as_ref().is_some_and(|named| *named != Some(algorithm)) {
                return Err(ConfigError::JwkAlgorithm(algorithm.name()));
            }
            (jwk.public_key, jwk.kid)
        } else {
            (der::public_key(&pem::public_key_der(text)?)?, None)
        };
        Self::of_public_key(algorithm, public_key, kid)
    }

    pub(crate) fn of_public_key(
        algorithm: PublicKeyAlgorithm,
        public_key: PublicKey,
        kid: Option<SmolStr>,
    ) -> Result<Self, ConfigError> {
        let (needed, found) = (algorithm.key_type(), public_key.key_type());
        if needed != found {
            let algorithm = algorithm.name();
            return Err(ConfigError::KeyAlgorithm { algorithm, needed, found });
        }
        Ok(Self { kid, material: Material::Public(algorithm, public_key) })
    }

    /// The same key with an id: it verifies only tokens that name it or name none.
    ///
    /// # Errors
    ///
    /// The id is empty or has more than 256 bytes.
    pub fn with_kid(mut self, kid: &str) -> Result<Self, ConfigError> {
        if !(1..=MAX_KID_BYTES).contains(&kid.len()) {
            return Err(ConfigError::KeyId { found: kid.len(), max: MAX_KID_BYTES });
        }
        self.kid = Some(SmolStr::from(kid));
        Ok(self)
    }

    /// The id that tokens name as `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm that the key is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Secret(algorithm, _) => Algorithm::Hmac(algorithm),
            Material::Public(algorithm, _) => Algorithm::PublicKey(algorithm),
        }
    }

    /// Whether a signature is that of the message. All bytes of a MAC are compared.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(_, key) => hmac::verify(key, message, signature).is_ok(),
            Material::Public(algorithm, key) => key.verify(*algorithm, message, signature),
        }
    }
}

/// The key of a secret.
///
/// # Errors
///
/// The secret is shorter than the digest, or is the text of a key.
pub(super) fn hmac_key(
    algorithm: HmacAlgorithm,
    secret: &Secret,
) -> Result<hmac::Key, ConfigError> {
    if secret.is_key_text() {
        return Err(ConfigError::SecretIsKey);
    }
    secret.check_length("secret of an HS algorithm", algorithm.min_secret_bytes())?;
    Ok(hmac::Key::new(algorithm.ring(), secret.bytes()))
}
