//! The content of a token that nobody has verified, for whoever holds it.

use serde_json::{Map, Value};

use crate::{Refusal, TokenKind, jwt, phoenix_token};

/// The content of a token as anybody can read it. It proves nothing: it is to be shown to the
/// person who has the token, and never to be decided by.
#[derive(Clone, Debug, PartialEq)]
pub struct Unverified {
    /// The kind of the token.
    pub kind: TokenKind,
    /// The header of a JWT; empty for a Phoenix token.
    pub header: Map<String, Value>,
    /// The claims of a JWT, an object; or the data of a Phoenix token, any JSON value.
    pub claims: Value,
    /// The time of signing in milliseconds of Unix time, if the token says one.
    pub signed_at_unix_ms: Option<u64>,
    /// The time at which the token itself says that it ends, in milliseconds of Unix time. The
    /// configuration of a server may end it earlier.
    pub expires_at_unix_ms: Option<u64>,
}

/// Reads a token without verifying it.
///
/// # Errors
///
/// The token has not the form of its kind.
pub fn read_unverified(token: &str) -> Result<Unverified, Refusal> {
    let first = token.split('.').next().unwrap_or_default();
    if phoenix_token::is_protected_header(first) {
        let (claims, signed_ms, expires_ms) = phoenix_token::read_unverified(token)?;
        return Ok(Unverified {
            kind: TokenKind::Phoenix,
            header: Map::new(),
            claims,
            signed_at_unix_ms: u64::try_from(signed_ms).ok(),
            expires_at_unix_ms: expires_ms.and_then(|ms| u64::try_from(ms).ok()),
        });
    }
    let [header, claims] = jwt::read_unverified(token)?;
    let time_ms = |name: &str| claims.get(name).and_then(Value::as_u64)?.checked_mul(1_000);
    let (signed_at_unix_ms, expires_at_unix_ms) = (time_ms("iat"), time_ms("exp"));
    let claims = Value::Object(claims);
    Ok(Unverified { kind: TokenKind::Jwt, header, claims, signed_at_unix_ms, expires_at_unix_ms })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{HmacAlgorithm, JwtSigner, MaxAge, PhoenixKeys, Secret};

    #[test]
    fn a_phoenix_token_says_its_data_and_times() {
        let keys = PhoenixKeys::derive(&[Secret::from_text(&"x".repeat(64))], "salt").unwrap();
        let token = keys.sign(&json!({"user_id": "ada"}), 5_000, MaxAge::Seconds(2)).unwrap();
        let read = read_unverified(&token).unwrap();
        assert_eq!((read.kind, read.claims), (TokenKind::Phoenix, json!({"user_id": "ada"})));
        assert_eq!((read.signed_at_unix_ms, read.expires_at_unix_ms), (Some(5_000), Some(7_000)));
        let endless = keys.sign(&json!(1), 5_000, MaxAge::Infinite).unwrap();
        assert_eq!(read_unverified(&endless).unwrap().expires_at_unix_ms, None);
    }

    #[test]
    fn a_jwt_says_its_header_claims_and_times() {
        let secret = Secret::from_text(&"x".repeat(32));
        let signer = JwtSigner::new(HmacAlgorithm::Hs256, &secret, Some("k".into())).unwrap();
        let claims = json!({"sub": "ada", "iat": 5, "exp": 7});
        let token = signer.sign(claims.as_object().unwrap());
        let read = read_unverified(&token).unwrap();
        assert_eq!((read.kind, read.claims), (TokenKind::Jwt, claims));
        assert_eq!(read.header["kid"], "k");
        assert_eq!((read.signed_at_unix_ms, read.expires_at_unix_ms), (Some(5_000), Some(7_000)));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for token in ["", "a.b.c", "SFMyNTY", "SFMyNTY.!.!", "e30.e30"] {
            assert!(matches!(read_unverified(token), Err(Refusal::Malformed(_))), "{token}");
        }
    }
}
