//! Keys, and which of them a token is tried with.

use super::header::Header;
use super::{JwtKey, MAX_KID_BYTES};
use crate::{ConfigError, Refusal};

/// The number of keys in a set at most.
pub const MAX_KEYS: usize = 64;

/// The number of keys that one token is tried with at most. A signature takes up to some tenths
/// of a millisecond to verify.
const MAX_TRIED: usize = 16;

/// A bounded set of keys.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<JwtKey>,
}

impl KeySet {
    /// A set of at most [`MAX_KEYS`] keys.
    ///
    /// # Errors
    ///
    /// There are more.
    pub fn new(keys: Vec<JwtKey>) -> Result<Self, ConfigError> {
        if keys.len() > MAX_KEYS {
            return Err(ConfigError::TooManyKeys { found: keys.len(), max: MAX_KEYS });
        }
        Ok(Self { keys })
    }

    /// The keys, in the order in which they were given.
    #[must_use]
    pub fn keys(&self) -> &[JwtKey] {
        &self.keys
    }

    /// Whether a key of the set has this id.
    #[must_use]
    pub fn has_kid(&self, kid: &str) -> bool {
        kid.len() <= MAX_KID_BYTES && self.keys.iter().any(|key| key.kid() == Some(kid))
    }
}

/// The keys that a token with this header is tried with: those with its `kid`, or else those that
/// have none; all, if the header has no `kid`. Of them, those for its algorithm.
///
/// # Errors
///
/// There is no such key, or there are too many.
pub(super) fn candidates<'k>(
    sets: &[&'k KeySet],
    header: &Header,
) -> Result<Vec<&'k JwtKey>, Refusal> {
    let all = || sets.iter().flat_map(|set| &set.keys);
    let chosen: Vec<&JwtKey> = match header.kid.as_deref() {
        None => all().collect(),
        Some(kid) if sets.iter().any(|set| set.has_kid(kid)) => {
            all().filter(|key| key.kid() == Some(kid)).collect()
        }
        Some(_) => all().filter(|key| key.kid().is_none()).collect(),
    };
    if chosen.is_empty() {
        return Err(Refusal::UnknownKey);
    }
    let is_for = |key: &&JwtKey| key.algorithm() == header.algorithm;
    let tried: Vec<&JwtKey> = chosen.into_iter().filter(is_for).collect();
    match tried.len() {
        0 => Err(Refusal::WrongAlgorithm),
        1..=MAX_TRIED => Ok(tried),
        found => Err(Refusal::AmbiguousKey { found, max: MAX_TRIED }),
    }
}
