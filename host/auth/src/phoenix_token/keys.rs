//! The keys that a secret and a salt make.

use std::fmt;
use std::num::NonZeroU32;

use ring::{hmac, pbkdf2};

use crate::{ConfigError, Secret};

/// The number of secrets at most: one that signs, and those that are rotated out.
pub const MAX_SECRETS: usize = 16;

/// The length of a secret at least, in bytes, as Phoenix demands it.
const MIN_SECRET_BYTES: usize = 20;

/// The iterations that plug_crypto derives a key with: a thousand.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(999);

/// The first part of a token that is signed with SHA-256.
pub(super) const HS256: &str = "SFMyNTY";
const HS384: &str = "SFMzODQ";
const HS512: &str = "SFM1MTI";

/// Whether the first part of a token is that of a Phoenix token.
pub(crate) fn is_protected_header(part: &str) -> bool {
    matches!(part, HS256 | HS384 | HS512)
}

/// Keys for tokens with one salt, derived once for each secret. Any of them verifies, the first
/// signs: to rotate a secret, put the new one in front and remove the old one after the longest
/// age of a token.
#[derive(Clone)]
pub struct PhoenixKeys {
    first: SecretKeys,
    others: Vec<SecretKeys>,
}

/// One derived key, for each digest.
#[derive(Clone)]
struct SecretKeys {
    sha256: hmac::Key,
    sha384: hmac::Key,
    sha512: hmac::Key,
}

impl fmt::Debug for PhoenixKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PhoenixKeys({})", 1 + self.others.len())
    }
}

impl PhoenixKeys {
    /// Derives the keys of some secrets (`secret_key_base` of the endpoint) and a salt (the
    /// second argument of `Phoenix.Token.sign/4`). It takes about a millisecond for each.
    ///
    /// # Errors
    ///
    /// There is no secret or more than [`MAX_SECRETS`], or one has fewer than 20 bytes.
    pub fn derive(secrets: &[Secret], salt: &str) -> Result<Self, ConfigError> {
        let count = ConfigError::SecretCount { found: secrets.len(), max: MAX_SECRETS };
        if secrets.len() > MAX_SECRETS {
            return Err(count);
        }
        for secret in secrets {
            secret.check_length("secret of Phoenix tokens", MIN_SECRET_BYTES)?;
        }
        let mut keys = secrets.iter().map(|secret| SecretKeys::derive(secret, salt));
        let first = keys.next().ok_or(count)?;
        Ok(Self { first, others: keys.collect() })
    }

    /// Whether a MAC is that of the message by any key, for the digest that the first part of the
    /// token names. All bytes are compared.
    pub(super) fn verify(&self, header: &str, message: &[u8], mac: &[u8]) -> bool {
        let mut keys = std::iter::once(&self.first).chain(&self.others);
        keys.any(|keys| {
            let key = keys.of_header(header);
            key.is_some_and(|key| hmac::verify(key, message, mac).is_ok())
        })
    }

    /// The MAC of a message by the first key, with SHA-256.
    pub(super) fn mac(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.first.sha256, message)
    }
}

impl SecretKeys {
    fn derive(secret: &Secret, salt: &str) -> Self {
        let mut key = [0; 32];
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::derive(algorithm, ITERATIONS, salt.as_bytes(), secret.bytes(), &mut key);
        Self {
            sha256: hmac::Key::new(hmac::HMAC_SHA256, &key),
            sha384: hmac::Key::new(hmac::HMAC_SHA384, &key),
            sha512: hmac::Key::new(hmac::HMAC_SHA512, &key),
        }
    }

    fn of_header(&self, header: &str) -> Option<&hmac::Key> {
        match header {
            HS256 => Some(&self.sha256),
            HS384 => Some(&self.sha384),
            HS512 => Some(&self.sha512),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_counted_and_measured() {
        let secret = Secret::from_text(&"x".repeat(20));
        assert!(PhoenixKeys::derive(&vec![secret.clone(); MAX_SECRETS], "salt").is_ok());
        for count in [0, MAX_SECRETS + 1] {
            let error = PhoenixKeys::derive(&vec![secret.clone(); count], "salt").unwrap_err();
            assert_eq!(error, ConfigError::SecretCount { found: count, max: MAX_SECRETS });
        }
        let short = [secret, Secret::from_text("hunter2")];
        let error = PhoenixKeys::derive(&short, "salt").unwrap_err();
        let what = "secret of Phoenix tokens";
        assert_eq!(error, ConfigError::SecretTooShort { what, found: 7, min: 20 });
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = PhoenixKeys::derive(&[Secret::from_text(&"x".repeat(64))], "salt").unwrap();
        assert_eq!(format!("{keys:?}"), "PhoenixKeys(1)");
    }
}
