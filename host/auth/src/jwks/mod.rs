//! Keys that a server publishes: JWK sets (RFC 7517), and when to fetch them.
//!
//! [`JwksCache`] says what to do, and whoever owns it does the fetching. For each token:
//!
//! ```text
//! verifier.form(token) ─ kid ─▶ cache.lookup(kid, now) ─▶ Use(keys)   verify_with_keys(token, keys)
//!                                          ▲              Wait        until the fetch is over ──┐
//!                                          │              Fetch       start a fetch ────────────┤
//!                                          └────────────────────────────── look up again ◀──────┘
//! ```
//!
//! A kid says who has signed only together with the place it was fetched from, so each place has
//! a cache and a verifier of its own.

mod cache;
mod jwk;
mod set;

pub use cache::{CacheSettings, FetchTicket, JwksCache, Lookup};
pub use set::{JwksError, MAX_JWKS_BYTES, ParsedJwks, SkipReason, SkippedKey, parse_jwks};

pub(crate) use jwk::Jwk;
