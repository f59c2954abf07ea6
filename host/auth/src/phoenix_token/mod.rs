//! `Phoenix.Token`: signed tokens that apps with Phoenix give their clients.
//!
//! ```text
//! base64url("HS256") . base64url(term) . base64url(HMAC(key, what stands before))
//! key  = PBKDF2-HMAC-SHA256(secret_key_base, salt, 1000 iterations, 32 bytes)
//! term = {data, signed_at_ms, max_age_s | :infinity}
//! ```
//!
//! Terms of older versions, `{data, signed_at_ms}` and `%{data: …, signed: …}`, are valid for a
//! day. Tokens of `Phoenix.Token.encrypt/4` are not supported.
//!
//! Source: `lib/plug/crypto.ex` and `lib/plug/crypto/message_verifier.ex` of `plug_crypto`.

mod age;
mod keys;
mod sign;
mod verify;

pub use age::MaxAge;
pub use keys::{MAX_SECRETS, PhoenixKeys};
pub use sign::SignError;
pub use verify::{PhoenixRules, PhoenixVerifier};

pub(crate) use keys::is_protected_header;
pub(crate) use verify::read_unverified;

/// The age in seconds at which a token expires that says nothing of it.
const DEFAULT_MAX_AGE_S: u32 = 86_400;
