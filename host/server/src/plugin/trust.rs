//! Trust in components: by their hash, or by who has signed them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde::{Deserialize, Deserializer, de};

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_BYTES]);

/// The conditions under which a component is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// The SHA-256 sums that are allowed, in hexadecimal digits; if there are none, any is.
    pub pins: Vec<String>,
    /// The keys, one of which has to have signed the component; if there are none, it need not be
    /// signed.
    pub keys: Vec<PublicKey>,
}

/// The error for a component that is not trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// The component has another hash than is allowed.
    #[error("has the SHA-256 {found}; {allowed} allowed (plugins.{plugin}.sha256)")]
    Pin {
        /// The name of the plugin.
        plugin: String,
        /// The SHA-256 of the component.
        found: String,
        /// The SHA-256 sums of the configuration.
        allowed: String,
    },
    /// The component is not signed.
    #[error(
        "is not signed, and trust.keys is set; sign it: openssl pkeyutl -sign -rawin -inkey \
         key.pem -in plugin.wasm -out plugin.wasm.sig"
    )]
    Unsigned,
    /// The signature is of none of the keys: another key has signed the component, or it was
    /// changed since.
    #[error(
        "has a signature of none of trust.keys: another key's, or the file was changed since; sign \
         it anew, or add the key"
    )]
    Signature,
}

const KEY_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;
/// The bytes before the key in the body of its PEM file (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];

impl Trust {
    /// Checks a component of `plugin` with this hash and, if keys are configured, its signature: 64
    /// bytes, or those in base64.
    ///
    /// # Errors
    ///
    /// The reason why the component is not trusted.
    pub fn check(
        &self,
        plugin: &str,
        wasm: &[u8],
        sha256: &str,
        signature: Option<&[u8]>,
    ) -> Result<(), TrustError> {
        if !self.pins.is_empty() && !self.pins.iter().any(|pin| pin.eq_ignore_ascii_case(sha256)) {
            let (found, allowed) = (sha256.to_owned(), self.pins.join(" or "));
            return Err(TrustError::Pin { plugin: plugin.to_owned(), found, allowed });
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        let signature = signature.ok_or(TrustError::Unsigned)?;
        let signature = decoded(signature).ok_or(TrustError::Signature)?;
        let verifies =
            |key: &PublicKey| UnparsedPublicKey::new(&ED25519, key.0).verify(wasm, &signature);
        match self.keys.iter().any(|key| verifies(key).is_ok()) {
            true => Ok(()),
            false => Err(TrustError::Signature),
        }
    }
}

fn decoded(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() == SIGNATURE_BYTES {
        return Some(signature.to_vec());
    }
    BASE64.decode(signature.trim_ascii()).ok().filter(|bytes| bytes.len() == SIGNATURE_BYTES)
}

impl PublicKey {
    /// Reads a key from base64: 32 bytes, or the body of the key's PEM file.
    fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64.decode(text.trim()).ok()?;
        let key = bytes.strip_prefix(&SPKI_PREFIX).unwrap_or(&bytes);
        key.try_into().ok().map(Self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expected = "the base64 of an Ed25519 public key is expected: 32 bytes, or the body of \
                        its PEM file";
        Self::parse(&text)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is no key; {expected}")))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn key_pair(seed: u8) -> (Ed25519KeyPair, PublicKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let key = pair.public_key().as_ref().try_into().unwrap();
        (pair, PublicKey(key))
    }

    #[test]
    fn one_of_the_keys_has_to_have_signed_it() {
        let ((first, first_key), (second, second_key)) = (key_pair(1), key_pair(2));
        let trust = Trust { pins: Vec::new(), keys: vec![first_key, second_key] };
        let wasm = b"\0asm and more";
        for pair in [&first, &second] {
            let signature = pair.sign(wasm);
            let text = format!("{}\n", BASE64.encode(signature.as_ref()));
            assert_eq!(trust.check("room", wasm, "", Some(signature.as_ref())), Ok(()));
            assert_eq!(trust.check("room", wasm, "", Some(text.as_bytes())), Ok(()));
            let changed = trust.check("room", b"\0asm and less", "", Some(signature.as_ref()));
            assert_eq!(changed, Err(TrustError::Signature));
        }
        let (stranger, _) = key_pair(3);
        let strange = trust.check("room", wasm, "", Some(stranger.sign(wasm).as_ref()));
        assert_eq!(strange, Err(TrustError::Signature));
        assert_eq!(trust.check("room", wasm, "", Some(b"short")), Err(TrustError::Signature));
        assert_eq!(trust.check("room", wasm, "", None), Err(TrustError::Unsigned));
        assert_eq!(Trust::default().check("room", wasm, "", None), Ok(()));
    }

    #[test]
    fn a_pinned_component_is_no_other() {
        let trust = Trust { pins: vec!["AB12".to_owned(), "cd".to_owned()], keys: Vec::new() };
        assert_eq!(trust.check("room", b"", "ab12", None), Ok(()));
        let error = trust.check("room", b"", "ef", None).unwrap_err().to_string();
        assert_eq!(error, "has the SHA-256 ef; AB12 or cd allowed (plugins.room.sha256)");
    }

    #[test]
    fn a_key_is_32_bytes_or_the_body_of_its_pem_file() {
        let (_, key) = key_pair(1);
        let raw = BASE64.encode(key.0);
        let pem = BASE64.encode([&SPKI_PREFIX[..], &key.0].concat());
        assert_eq!((PublicKey::parse(&raw), PublicKey::parse(&pem)), (Some(key), Some(key)));
        assert_eq!((PublicKey::parse("?"), PublicKey::parse(&raw[4..])), (None, None));
    }
}
