//! The token of a client, as far as it matters after the handshake.

use bytestring::ByteString;

/// The content of a token that the server has verified before it let the client in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The claims of a JWT, or the data of a Phoenix token, as JSON text.
    pub claims: ByteString,
    /// The time at which the token ends, in milliseconds of Unix time; `None` if it does not. The
    /// connection ends with it.
    pub expires_at_unix_ms: Option<u64>,
}
