//! Public keys: what is allowed as one, and how it verifies.

use std::fmt;

use ring::signature::UnparsedPublicKey;

use super::{KeyType, PublicKeyAlgorithm};
use crate::ConfigError;

/// The bits of an RSA modulus; fewer are broken, more cost too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// The length of an RSA exponent at most, in bytes. Nearly all are 65537.
const MAX_EXPONENT_BYTES: usize = 4;

/// The first byte of a point that is not compressed.
const UNCOMPRESSED: u8 = 4;

/// A public key, in the form that verifying takes: a point, or the DER of an RSA key. Whether a
/// point is on its curve is found out when it verifies: with one that is not, nothing does.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PublicKey {
    key_type: KeyType,
    bytes: Vec<u8>,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PublicKey({})", self.key_type)
    }
}

impl PublicKey {
    /// An RSA key of its modulus and exponent, the highest byte first.
    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, ConfigError> {
        let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
        let first_bits = modulus.first().map_or(0, |byte| 8 - byte.leading_zeros() as usize);
        let bits = modulus.len().saturating_sub(1) * 8 + first_bits;
        if !RSA_BITS.contains(&bits) {
            let problem = "an RSA key has 2048 to 8192 bits; make one with 2048 or 3072";
            return Err(ConfigError::PublicKey(problem));
        }
        let is_odd = |bytes: &[u8]| bytes.last().is_some_and(|byte| byte % 2 == 1);
        let allowed = is_odd(modulus)
            && is_odd(exponent)
            && exponent.len() <= MAX_EXPONENT_BYTES
            && exponent != [1];
        if !allowed {
            let problem = "its modulus and exponent are odd, and the exponent from 3 to 2³² - 1";
            return Err(ConfigError::PublicKey(problem));
        }
        let integers =
            [der_element(0x02, &positive(modulus)), der_element(0x02, &positive(exponent))];
        Ok(Self { key_type: KeyType::Rsa, bytes: der_element(0x30, &integers.concat()) })
    }

    /// A key of P-256: a point that is not compressed.
    pub(crate) fn p256(point: &[u8]) -> Result<Self, ConfigError> {
        Self::point(KeyType::P256, point, 65)
    }

    /// A key of P-384: a point that is not compressed.
    pub(crate) fn p384(point: &[u8]) -> Result<Self, ConfigError> {
        Self::point(KeyType::P384, point, 97)
    }

    /// A key of Ed25519.
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() != 32 {
            return Err(ConfigError::PublicKey("an Ed25519 key has 32 bytes"));
        }
        Ok(Self { key_type: KeyType::Ed25519, bytes: bytes.to_vec() })
    }

    fn point(key_type: KeyType, point: &[u8], length: usize) -> Result<Self, ConfigError> {
        if point.len() != length || point.first() != Some(&UNCOMPRESSED) {
            let problem = "its point has the wrong length or is compressed; export it uncompressed";
            return Err(ConfigError::PublicKey(problem));
        }
        Ok(Self { key_type, bytes: point.to_vec() })
    }

    pub(crate) const fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// Whether a signature is that of the message. An algorithm for another type of key finds
    /// none.
    pub(super) fn verify(
        &self,
        algorithm: PublicKeyAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        algorithm.key_type() == self.key_type
            && UnparsedPublicKey::new(algorithm.ring(), &self.bytes)
                .verify(message, signature)
                .is_ok()
    }
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// An integer as DER has it: a zero in front of a first bit that is set.
fn positive(integer: &[u8]) -> Vec<u8> {
    let zero = integer.first().is_some_and(|byte| *byte >= 0x80).then_some(0);
    zero.into_iter().chain(integer.iter().copied()).collect()
}

/// A DER element with a value of less than 64 KiB, as a key of at most 8192 bits is.
fn der_element(tag: u8, value: &[u8]) -> Vec<u8> {
    let [.., high, low] = value.len().to_be_bytes();
    let header: &[u8] = match value.len() {
        ..=0x7f => &[tag, low],
        0x80..=0xff => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [header, value].concat()
}
