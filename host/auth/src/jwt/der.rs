//! DER, as much of it as public keys have: `SubjectPublicKeyInfo` (RFC 5280, RFC 8410) and
//! `RSAPublicKey` (RFC 8017).

use super::PublicKey;
use crate::ConfigError;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

/// `rsaEncryption`, 1.2.840.113549.1.1.1.
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// `id-ecPublicKey`, 1.2.840.10045.2.1.
const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// `secp256r1`, 1.2.840.10045.3.1.7.
const CURVE_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// `secp384r1`, 1.3.132.0.34.
const CURVE_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// `id-Ed25519`, 1.3.101.112.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const MALFORMED: ConfigError = ConfigError::PublicKey("its DER is malformed; export it anew");
const UNSUPPORTED: ConfigError =
    ConfigError::PublicKey("RSA, the curves P-256 and P-384, and Ed25519 are allowed");

/// The public key that a `SubjectPublicKeyInfo` holds.
///
/// # Errors
///
/// The DER is malformed, or the key of a type or strength that is not allowed.
pub(super) fn public_key(der: &[u8]) -> Result<PublicKey, ConfigError> {
    let mut info = Reader(der).only(SEQUENCE)?;
    let mut algorithm = Reader(info.value(SEQUENCE)?);
    let bits = Reader(info.value(BIT_STRING)?).all_bits()?;
    info.end()?;
    let identifier = algorithm.value(OBJECT_IDENTIFIER)?;
    let key = if identifier == RSA_ENCRYPTION {
        algorithm.value(NULL)?;
        rsa_public_key(bits)?
    } else if identifier == EC_PUBLIC_KEY {
        match algorithm.value(OBJECT_IDENTIFIER)? {
            curve if curve == CURVE_P256 => PublicKey::p256(bits)?,
            curve if curve == CURVE_P384 => PublicKey::p384(bits)?,
            _ => return Err(UNSUPPORTED),
        }
    } else if identifier == ED25519 {
        PublicKey::ed25519(bits)?
    } else {
        return Err(UNSUPPORTED);
    };
    algorithm.end()?;
    Ok(key)
}

fn rsa_public_key(der: &[u8]) -> Result<PublicKey, ConfigError> {
    let mut key = Reader(der).only(SEQUENCE)?;
    let (modulus, exponent) = (key.value(INTEGER)?, key.value(INTEGER)?);
    key.end()?;
    // Neither is negative in a key, so a set first bit has a zero in front.
    if [modulus, exponent].iter().any(|integer| integer.first().is_none_or(|byte| *byte >= 0x80)) {
        return Err(MALFORMED);
    }
    PublicKey::rsa(modulus, exponent)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The value of an element that is all there is.
    fn only(mut self, tag: u8) -> Result<Self, ConfigError> {
        let value = self.value(tag)?;
        self.end()?;
        Ok(Self(value))
    }

    /// The value of the next element, which has this tag.
    fn value(&mut self, tag: u8) -> Result<&'a [u8], ConfigError> {
        if self.byte()? != tag {
            return Err(MALFORMED);
        }
        let length = match self.byte()? {
            short @ ..=0x7f => short.into(),
            0x81 => self.byte()?.into(),
            0x82 => usize::from(self.byte()?) << 8 | usize::from(self.byte()?),
            // Longer than any key, or without a length.
            _ => return Err(MALFORMED),
        };
        let (value, rest) = self.0.split_at_checked(length).ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(value)
    }

    /// The bytes of a bit string whose last byte is used whole.
    fn all_bits(mut self) -> Result<&'a [u8], ConfigError> {
        if self.byte()? == 0 { Ok(self.0) } else { Err(MALFORMED) }
    }

    fn byte(&mut self) -> Result<u8, ConfigError> {
        let (byte, rest) = self.0.split_first().ok_or(MALFORMED)?;
        self.0 = rest;
        Ok(*byte)
    }

    const fn end(&self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(MALFORMED) }
    }
}
