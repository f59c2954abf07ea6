//! Algorithms of signatures (RFC 7518, section 3; RFC 8037).

use std::fmt;
use std::str::FromStr;

use ring::{hmac, signature};

use crate::ConfigError;

/// The length of an unknown name that an error shows at most, in characters.
const SHOWN_NAME: usize = 32;

/// An algorithm of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// An algorithm with a shared secret.
    Hmac(HmacAlgorithm),
    /// An algorithm with a public key.
    PublicKey(PublicKeyAlgorithm),
}

/// An algorithm whose key is a secret that signer and server share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
}

/// An algorithm whose signatures the server verifies with a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicKeyAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519; in headers `EdDSA`, or `Ed25519` as RFC 9864 has it.
    EdDsa,
}

/// The type of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// RSA, of 2048 to 8192 bits.
    Rsa,
    /// The elliptic curve P-256.
    P256,
    /// The elliptic curve P-384.
    P384,
    /// Ed25519, the Edwards curve of EdDSA.
    Ed25519,
}

impl fmt::Display for KeyType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rsa => "an RSA key",
            Self::P256 => "a key of the curve P-256",
            Self::P384 => "a key of the curve P-384",
            Self::Ed25519 => "an Ed25519 key",
        })
    }
}

impl Algorithm {
    /// The name that headers have as `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hmac(algorithm) => algorithm.name(),
            Self::PublicKey(algorithm) => algorithm.name(),
        }
    }
}

impl FromStr for Algorithm {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Ok(match name {
            "HS256" => Self::Hmac(HmacAlgorithm::Hs256),
            "HS384" => Self::Hmac(HmacAlgorithm::Hs384),
            "HS512" => Self::Hmac(HmacAlgorithm::Hs512),
            "RS256" => Self::PublicKey(PublicKeyAlgorithm::Rs256),
            "RS384" => Self::PublicKey(PublicKeyAlgorithm::Rs384),
            "RS512" => Self::PublicKey(PublicKeyAlgorithm::Rs512),
            "PS256" => Self::PublicKey(PublicKeyAlgorithm::Ps256),
            "PS384" => Self::PublicKey(PublicKeyAlgorithm::Ps384),
            "PS512" => Self::PublicKey(PublicKeyAlgorithm::Ps512),
            "ES256" => Self::PublicKey(PublicKeyAlgorithm::Es256),
            "ES384" => Self::PublicKey(PublicKeyAlgorithm::Es384),
            "EdDSA" | "Ed25519" => Self::PublicKey(PublicKeyAlgorithm::EdDsa),
            other => {
                let found = other.chars().take(SHOWN_NAME).collect();
                return Err(ConfigError::UnknownAlgorithm { found });
            }
        })
    }
}

impl HmacAlgorithm {
    /// The name that headers have as `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
        }
    }

    /// The length of a secret at least, in bytes: that of the digest (RFC 7518, section 3.2).
    #[must_use]
    pub const fn min_secret_bytes(self) -> usize {
        match self {
            Self::Hs256 => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }

    pub(super) const fn ring(self) -> hmac::Algorithm {
        match self {
            Self::Hs256 => hmac::HMAC_SHA256,
            Self::Hs384 => hmac::HMAC_SHA384,
            Self::Hs512 => hmac::HMAC_SHA512,
        }
    }
}

impl PublicKeyAlgorithm {
    /// The name that headers have as `alg`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The type of key that the algorithm needs.
    #[must_use]
    pub const fn key_type(self) -> KeyType {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                KeyType::Rsa
            }
            Self::Es256 => KeyType::P256,
            Self::Es384 => KeyType::P384,
            Self::EdDsa => KeyType::Ed25519,
        }
    }

    pub(super) fn ring(self) -> &'static dyn signature::VerificationAlgorithm {
        match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::Es384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::EdDsa => &signature::ED25519,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in [
            "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
            "ES256", "ES384", "EdDSA",
        ] {
            assert_eq!(name.parse::<Algorithm>().unwrap().name(), name);
        }
        let ed25519 = "Ed25519".parse::<Algorithm>().unwrap();
        assert_eq!(ed25519, Algorithm::PublicKey(PublicKeyAlgorithm::EdDsa));
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["none", "None", "", "hs256", "ES256K", "ES512", "RSA-OAEP", "HS256 "] {
            let found = name.to_owned();
            assert_eq!(name.parse::<Algorithm>(), Err(ConfigError::UnknownAlgorithm { found }));
        }
    }
}
