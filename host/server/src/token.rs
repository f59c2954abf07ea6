//! Tokens: secrets that a request has to show.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

use crate::secret::Secret;

/// Compares the `given` token with the `expected` one; anything is right when none is expected. A
/// wrong token takes as long as the right one.
pub(crate) fn admits(expected: Option<&Secret>, given: Option<&str>) -> bool {
    expected.is_none_or(|expected| is_same(&expected.get(), given))
}

/// Whether the `given` token is the `expected` one, in constant time.
pub(crate) fn is_same(expected: &str, given: Option<&str>) -> bool {
    given.unwrap_or_default().as_bytes().ct_eq(expected.as_bytes()).into()
}

/// The token of a request: `authorization: Bearer …`. The name of the scheme may be written in any
/// case (RFC 9110, section 11.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn the_scheme_is_the_same_in_any_case() {
        for (given, token) in [
            ("Bearer x", Some("x")),
            ("bearer x", Some("x")),
            ("BEARER  x y", Some("x y")),
            ("Bearerx", None),
            ("Basic x", None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(given))]);
            assert_eq!(bearer(&headers), token, "{given}");
        }
    }

    #[test]
    fn a_token_opens_if_one_is_set() {
        assert!(admits(None, None) && admits(None, Some("x")));
        let abc = Secret::new("abc");
        assert!(admits(Some(&abc), Some("abc")));
        for wrong in [None, Some(""), Some("ab"), Some("abd"), Some("abcd")] {
            assert!(!admits(Some(&abc), wrong), "{wrong:?}");
        }
    }
}
