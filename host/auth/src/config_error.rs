//! What is wrong with a key or a secret of the configuration.

use crate::jwt::KeyType;

/// The fault of a key or a secret. Its text says what was found, what is allowed and what to do,
/// and never has a part of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A secret is shorter than is safe.
    #[error(
        "the {what} has {found} bytes; at least {min} are needed: generate a longer one, for \
         example with `openssl rand -base64 64`"
    )]
    SecretTooShort {
        /// The name of the secret.
        what: &'static str,
        /// The length of the secret, in bytes.
        found: usize,
        /// The shortest that is allowed, in bytes.
        min: usize,
    },
    /// A secret that is not base64.
    #[error(
        "the secret is not base64; letters, digits, `+` and `/` (or `-` and `_`) are \
         allowed: give it as text, or encode it"
    )]
    SecretNotBase64,
    /// A secret that is a key in PEM or JWK form. A public key is known to everybody.
    #[error(
        "the secret of an HS algorithm is a key in PEM or JWK form; a public key would let \
         anybody sign: choose an RS, PS, ES or EdDSA algorithm for it"
    )]
    SecretIsKey,
    /// No secret, or more of them than are tried.
    #[error(
        "found {found} secrets; 1 to {max} are allowed: the first signs, any verifies, so \
         remove those that are rotated out"
    )]
    SecretCount {
        /// The number of secrets that were given.
        found: usize,
        /// The number that is allowed.
        max: usize,
    },
    /// The name of an algorithm that is not supported.
    #[error(
        "the algorithm `{found}` is not supported; HS256, HS384, HS512, RS256, RS384, RS512, \
         PS256, PS384, PS512, ES256, ES384 and EdDSA are: take the one that the tokens' \
         headers name as `alg`"
    )]
    UnknownAlgorithm {
        /// The name, shortened.
        found: String,
    },
    /// A public key that is neither PEM nor JWK.
    #[error(
        "the public key is neither PEM (`-----BEGIN PUBLIC KEY-----`) nor a JWK (`{{\"kty\": \
         …}}`): convert it, for example with `openssl pkey -pubin -outform PEM`"
    )]
    PublicKeyForm,
    /// A PEM block that holds something else.
    #[error("found a PEM block `{label}`; `PUBLIC KEY` is allowed: {advice}")]
    PemLabel {
        /// The label of the block, shortened.
        label: String,
        /// The command that makes the right block.
        advice: &'static str,
    },
    /// A private key where the public one is enough. It belongs to the signer alone.
    #[error(
        "the key is a private one; the server verifies with the public one alone: give that, \
         and if the private one has been here long, replace it"
    )]
    PrivateKey,
    /// A public key that cannot be read or is too weak.
    #[error("the public key cannot be used: {0}")]
    PublicKey(&'static str),
    /// A key and an algorithm that do not go together.
    #[error("{algorithm} needs {needed}, found {found}: change the algorithm or the key")]
    KeyAlgorithm {
        /// The name of the algorithm.
        algorithm: &'static str,
        /// The type of key that the algorithm needs.
        needed: KeyType,
        /// The type of the given key.
        found: KeyType,
    },
    /// A JWK that names another algorithm than the configuration.
    #[error("the JWK is for another algorithm (`alg`) than the configured {0}: make them the same")]
    JwkAlgorithm(&'static str),
    /// A key id that is longer than tokens may name.
    #[error("the key id (`kid`) has {found} bytes; 1 to {max} are allowed: shorten it")]
    KeyId {
        /// The length of the id, in bytes.
        found: usize,
        /// The length that is allowed, in bytes.
        max: usize,
    },
    /// More keys than a set holds.
    #[error("found {found} keys; at most {max} are allowed: remove those that sign no more")]
    TooManyKeys {
        /// The number of keys that were given.
        found: usize,
        /// The number that is allowed.
        max: usize,
    },
}
