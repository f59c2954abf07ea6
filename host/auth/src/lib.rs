//! Tokens of clients: who a client is, proven by a signature, before it gets a socket.
//!
//! ```text
//!              ┌ SFMyNTY.… ─▶ phoenix_token ─▶ MAC ─▶ term ──▶ age ───┐
//! token ─▶ Verifier                                                   ├─▶ Identity | Refusal
//!              └ eyJ… ──────▶ jwt ─▶ key ─▶ signature ─▶ claims ──────┘
//!                                     ▲
//!                          jwks ──────┘ keys that a server publishes, and when to fetch them
//! ```
//!
//! Pure: no sockets, no clock, no tasks. Whoever verifies a token says what time it is; whoever
//! uses a JWK set fetches it when [`JwksCache`] says so.
//!
//! Nothing of a token is decoded before its signature is verified but what chooses the key: the
//! header of a JWT, within bounds. A [`Refusal`] never has a part of the token in its text, and no
//! value here shows a secret in its `Debug` form.

#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::print_stdout,
        clippy::unwrap_used
    )
)]

mod verifier;

mod identity;
mod refusal;

mod jwks;
mod jwt;
mod phoenix_token;

mod config_error;
mod encoding;
mod etf;
mod json;
mod secret;
mod unverified;

#[cfg(test)]
mod tests;

pub use config_error::ConfigError;
pub use identity::{Identity, MAX_USER_ID_BYTES};
pub use jwks::{
    CacheSettings, FetchTicket, JwksCache, JwksError, Lookup, MAX_JWKS_BYTES, ParsedJwks,
    SkipReason, SkippedKey, parse_jwks,
};
pub use jwt::{
    Algorithm, HmacAlgorithm, JwtKey, JwtRules, JwtSigner, JwtVerifier, KeySet, KeyType, MAX_KEYS,
    PublicKeyAlgorithm,
};
pub use phoenix_token::{
    MAX_SECRETS, MaxAge, PhoenixKeys, PhoenixRules, PhoenixVerifier, SignError,
};
pub use refusal::{Refusal, TokenKind};
pub use secret::Secret;
pub use unverified::{Unverified, read_unverified};
pub use verifier::{DEFAULT_MAX_TOKEN_BYTES, TokenForm, Verifier};
