//! What somebody has to know.

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;

/// Compares what was `expected` with what was `given`; anything will do when
/// nothing is expected. Takes as long for a wrong token as for the right one.
pub(crate) fn admits(expected: Option<&str>, given: Option<&str>) -> bool {
    let Some(expected) = expected else { return true };
    let given = given.unwrap_or_default().as_bytes();
    let differences = given.iter().zip(expected.as_bytes()).map(|(a, b)| a ^ b);
    given.len() == expected.len() && differences.fold(0, |all, here| all | here) == 0
}

/// What a request gives: `authorization: Bearer …`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

#[cfg(test)]
mod tests {
    use super::admits;

    #[test]
    fn a_token_opens_if_one_is_set() {
        assert!(admits(None, None) && admits(None, Some("x")));
        assert!(admits(Some("abc"), Some("abc")));
        for wrong in [None, Some(""), Some("ab"), Some("abd"), Some("abcd")] {
            assert!(!admits(Some("abc"), wrong), "{wrong:?}");
        }
    }
}
