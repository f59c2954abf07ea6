//! A JWK set → keys.

use serde_json::Value;

use super::Jwk;
use crate::jwt::{JwtKey, KeySet, KeyType, MAX_KEYS, PublicKeyAlgorithm};
use crate::{ConfigError, json};

/// The length of a JWK set at most, in bytes: 64 keys with a certificate each, or 8 with a chain.
pub const MAX_JWKS_BYTES: usize = 128 * 1024;

/// The keys of a JWK set, and those that were left out.
#[derive(Clone, Debug)]
pub struct ParsedJwks {
    /// The keys that verify tokens.
    pub keys: KeySet,
    /// The keys that do not, for the log.
    pub skipped: Vec<SkippedKey>,
}

/// A key of a set that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// The place of the key in the set, from 0.
    pub index: usize,
    /// The reason why it is not used.
    pub why: SkipReason,
}

/// The reason why a key of a set is not used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The key itself cannot be used.
    #[error(transparent)]
    Key(ConfigError),
    /// The `alg` of the key is none of the configured algorithms.
    #[error("its `alg` is none of the configured `algorithms`")]
    NotConfigured,
    /// The key has no `alg`, and not exactly one of the configured algorithms takes it.
    #[error("it has no `alg`, and {0} of the configured `algorithms` take it; leave exactly one")]
    NoOneAlgorithm(usize),
}

/// Why a JWK set is not taken. The keys from before stay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// The set is longer than is allowed.
    #[error("the JWK set has {found} bytes; at most {MAX_JWKS_BYTES} are allowed")]
    TooLarge {
        /// The length of the set, in bytes.
        found: usize,
    },
    /// The text is no JWK set.
    #[error(
        "the text is no JWK set, `{{\"keys\": […]}}`: is this the address of the keys (`jwks_uri`)?"
    )]
    Malformed,
    /// The set has more keys than are allowed.
    #[error("the JWK set has {found} keys; at most {MAX_KEYS} are allowed")]
    TooManyKeys {
        /// The number of keys in the set.
        found: usize,
    },
    /// No key of the set can be used.
    #[error("none of the {} keys of the JWK set can be used{}", .0.len(), first_reason(.0))]
    NoUsableKey(Vec<SkippedKey>),
}

fn first_reason(skipped: &[SkippedKey]) -> String {
    skipped.first().map_or_else(String::new, |key| format!("; the first: {}", key.why))
}

/// Parses a JWK set. A key is for its `alg`, or else for the only one of the allowed algorithms
/// that takes a key of its type. Keys that cannot be used are left out: secrets (`oct`), private
/// keys, keys for encryption, other curves.
///
/// # Errors
///
/// The set is malformed, too large, or has no key that can be used.
pub fn parse_jwks(text: &[u8], allowed: &[PublicKeyAlgorithm]) -> Result<ParsedJwks, JwksError> {
    if text.len() > MAX_JWKS_BYTES {
        return Err(JwksError::TooLarge { found: text.len() });
    }
    let mut set = json::parse_object(text).ok_or(JwksError::Malformed)?;
    let Some(Value::Array(entries)) = set.remove("keys") else { return Err(JwksError::Malformed) };
    if entries.len() > MAX_KEYS {
        return Err(JwksError::TooManyKeys { found: entries.len() });
    }
    let (mut keys, mut skipped) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        match key(entry, allowed) {
            Ok(key) => keys.push(key),
            Err(why) => skipped.push(SkippedKey { index, why }),
        }
    }
    if keys.is_empty() {
        return Err(JwksError::NoUsableKey(skipped));
    }
    let found = keys.len();
    let keys = KeySet::new(keys).map_err(|_| JwksError::TooManyKeys { found })?;
    Ok(ParsedJwks { keys, skipped })
}

fn key(entry: &Value, allowed: &[PublicKeyAlgorithm]) -> Result<JwtKey, SkipReason> {
    let members = entry.as_object().ok_or(SkipReason::Key(ConfigError::PublicKeyForm))?;
    let jwk = Jwk::of_members(members).map_err(SkipReason::Key)?;
    let algorithm = match jwk.algorithm {
        Some(named) => {
            named.filter(|named| allowed.contains(named)).ok_or(SkipReason::NotConfigured)?
        }
        None => only_algorithm(jwk.public_key.key_type(), allowed)?,
    };
    JwtKey::of_public_key(algorithm, jwk.public_key, jwk.kid).map_err(SkipReason::Key)
}

fn only_algorithm(
    key_type: KeyType,
    allowed: &[PublicKeyAlgorithm],
) -> Result<PublicKeyAlgorithm, SkipReason> {
    let mut fitting: Vec<PublicKeyAlgorithm> = Vec::new();
    for algorithm in allowed {
        if algorithm.key_type() == key_type && !fitting.contains(algorithm) {
            fitting.push(*algorithm);
        }
    }
    match fitting.as_slice() {
        [algorithm] => Ok(*algorithm),
        others => Err(SkipReason::NoOneAlgorithm(others.len())),
    }
}
