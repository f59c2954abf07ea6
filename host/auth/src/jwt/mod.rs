//! JSON Web Tokens (RFC 7519), signed, in compact form (RFC 7515).
//!
//! Each key has exactly one algorithm, and the header of a token only chooses among keys: `none`
//! finds no key, and a public key cannot be a secret, as they are different types. What a header
//! brings along (`jwk`, `jku`, `x5u`, `x5c`) is not looked at.
//!
//! Signatures are ring's. The crate `jsonwebtoken` (12.0) is not used: it checks signatures with
//! aws-lc, a second library of cryptography beside ring, or with `rsa`, which RUSTSEC-2023-0071
//! is about. With a provider of one's own neither is needed, but then what is left of it does
//! not fit: it asks the clock itself, finds its provider in a global and panics without one,
//! rounds an `exp` that is no integer, and does not look at `nbf` unless told to.
//!
//! What is demanded beyond the RFCs is in [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725), the
//! best current practices.

mod algorithm;
mod claims;
mod der;
mod header;
mod key;
mod key_set;
mod pem;
mod public_key;
mod sign;
mod verify;

pub use algorithm::{Algorithm, HmacAlgorithm, KeyType, PublicKeyAlgorithm};
pub use claims::JwtRules;
pub use key::JwtKey;
pub use key_set::{KeySet, MAX_KEYS};
pub use sign::JwtSigner;
pub use verify::JwtVerifier;

pub(crate) use key::MAX_KID_BYTES;
pub(crate) use public_key::PublicKey;
pub(crate) use verify::read_unverified;
