//! The subprotocols of a WebSocket, one of which carries a token.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use hyper::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};

use super::upgrade;

/// The subprotocol of Phoenix clients that send a token.
const PHOENIX_PROTOCOL: &str = "phoenix";
/// The prefix of the subprotocol that carries the token (phoenix.js, `socket.js`).
const TOKEN_PROTOCOL: &str = "base64url.bearer.phx.";

/// The subprotocols that a client offers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Protocols<'a> {
    /// The first one that the server knows.
    pub(super) spoken: Option<&'a str>,
    /// The token that is among them.
    pub(super) auth_token: Option<String>,
}

impl<'a> Protocols<'a> {
    /// Reads the subprotocols. `known` are those besides [`PHOENIX_PROTOCOL`]. An error if the
    /// token is not base64 of UTF-8.
    pub(super) fn read(headers: &'a HeaderMap, known: &[String]) -> Result<Self, ()> {
        let mut protocols = Self::default();
        for offered in upgrade::tokens(headers, SEC_WEBSOCKET_PROTOCOL) {
            if let Some(token) = offered.strip_prefix(TOKEN_PROTOCOL) {
                protocols.auth_token = Some(decode_token(token).ok_or(())?);
            } else if offered == PHOENIX_PROTOCOL || known.iter().any(|known| known == offered) {
                protocols.spoken.get_or_insert(offered);
            }
        }
        Ok(protocols)
    }
}

/// Decodes a token. Phoenix documents base64url and decodes the standard alphabet, so both are
/// taken.
fn decode_token(token: &str) -> Option<String> {
    let token = token.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(token).or_else(|_| URL_SAFE_NO_PAD.decode(token)).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn a_token_comes_as_a_subprotocol() {
        let read = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            let known = ["mine".to_owned()];
            let protocols = Protocols::read(&headers, &known);
            protocols.map(|found| (found.spoken.map(str::to_owned), found.auth_token))
        };
        let (phoenix, token) = (Some("phoenix".to_owned()), Some("1234".to_owned()));
        assert_eq!(read("phoenix, base64url.bearer.phx.MTIzNA"), Ok((phoenix.clone(), token)));
        assert_eq!(read("base64url.bearer.phx.&"), Err(()));
        assert_eq!(read("other"), Ok((None, None)));
        assert_eq!(read("other, phoenix, mine"), Ok((phoenix, None)));
        assert_eq!(read("mine, phoenix"), Ok((Some("mine".to_owned()), None)));
    }
}
