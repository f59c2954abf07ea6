//! The tokens of long-poll sessions, which only this run of the server can make.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// The key of the tokens, drawn at the start of the server: after a restart, all sessions are gone.
pub(crate) struct TokenKey {
    /// The number of this run.
    node: u64,
    key: hmac::Key,
}

/// The content of a token.
///
/// ```text
/// KIND(1) NODE(8) SESSION(8) ISSUED(8) RANDOM(8) HMAC-SHA-256(32), in base64 for URLs
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    /// The number of the session, which is that of its connection.
    pub(crate) session: u64,
    /// Whether the session is made when the token is used for the first time.
    pub(crate) is_promise: bool,
    /// The time at which the token was made, in milliseconds since 1970.
    issued_ms: u64,
}

/// The kinds of tokens, which also tell this form from later ones.
const SESSION: u8 = 1;
const PROMISE: u8 = 2;
/// The bytes of a token in front of its MAC.
const CONTENT_BYTES: usize = 33;
/// The bytes of a whole token.
const BYTES: usize = CONTENT_BYTES + 32;
/// The most characters that are decoded.
const MAX_CHARS: usize = BYTES.div_ceil(3) * 4;

/// The age in milliseconds at which a token ends, as in Phoenix: 14 days.
const MAX_AGE_MS: u64 = 14 * 24 * 3600 * 1000;
/// The age in milliseconds after which a poll is answered with a new token.
const RENEW_AGE_MS: u64 = 24 * 3600 * 1000;
/// The time in milliseconds in which a promised session has to be polled.
const PROMISE_AGE_MS: u64 = 60 * 1000;

impl TokenKey {
    /// A random key for the run of this number.
    ///
    /// # Errors
    ///
    /// The error of the operating system, when it gives no random bytes.
    pub(crate) fn draw(node: u64) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self { node, key: hmac::Key::new(hmac::HMAC_SHA256, &secret) })
    }

    /// A token of a session that there is, or of one that is promised.
    pub(crate) fn sign(&self, session: u64, is_promise: bool, now_ms: u64) -> String {
        let mut random = [0; 8];
        // Without random bytes the MAC alone keeps the token from being guessed.
        let _ = getrandom::fill(&mut random);
        let kind = if is_promise { PROMISE } else { SESSION };
        let parts: [&[u8]; 5] = [
            &[kind],
            &self.node.to_be_bytes(),
            &session.to_be_bytes(),
            &now_ms.to_be_bytes(),
            &random,
        ];
        let mut bytes = parts.concat();
        let tag = hmac::sign(&self.key, &bytes);
        bytes.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Whether a text has the form of a token, of whichever run.
    pub(crate) fn is_like_token(text: &str) -> bool {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        bytes.len() == BYTES && matches!(bytes.first(), Some(&(SESSION | PROMISE)))
    }

    /// Reads a token that this key has signed and that is not too old.
    pub(crate) fn verify(&self, text: &str, now_ms: u64) -> Option<Token> {
        if text.len() > MAX_CHARS {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (content, tag) = bytes.split_at_checked(CONTENT_BYTES)?;
        // The comparison takes the same time for all tags.
        hmac::verify(&self.key, content, tag).ok()?;
        let (kind, content) = content.split_first()?;
        let (node, content) = number(content)?;
        let (session, content) = number(content)?;
        let (issued_ms, _) = number(content)?;
        let (is_promise, max_age) = match *kind {
            SESSION => (false, MAX_AGE_MS),
            PROMISE => (true, PROMISE_AGE_MS),
            _ => return None,
        };
        let is_valid = node == self.node && now_ms.saturating_sub(issued_ms) <= max_age;
        is_valid.then_some(Token { session, is_promise, issued_ms })
    }
}

impl Token {
    /// Whether the client should get a new token for its session.
    pub(crate) fn is_to_be_renewed(&self, now_ms: u64) -> bool {
        self.is_promise || now_ms.saturating_sub(self.issued_ms) > RENEW_AGE_MS
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenKey").finish_non_exhaustive()
    }
}

/// The number in front, and the bytes behind it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    #[test]
    fn a_token_ends_and_is_renewed_before() {
        let key = TokenKey::draw(7).unwrap();
        for (is_promise, max_age) in [(false, MAX_AGE_MS), (true, PROMISE_AGE_MS)] {
            let text = key.sign(3, is_promise, NOW);
            let token = key.verify(&text, NOW).unwrap();
            assert_eq!((token.session, token.is_promise), (3, is_promise));
            assert_eq!(token.is_to_be_renewed(NOW), is_promise);
            assert!(key.verify(&text, NOW + max_age).unwrap().is_to_be_renewed(NOW + max_age));
            assert_eq!(key.verify(&text, NOW + max_age + 1), None);
        }
    }

    #[test]
    fn a_token_of_another_run_is_none() {
        let (key, other) = (TokenKey::draw(7).unwrap(), TokenKey::draw(7).unwrap());
        assert_eq!(key.verify(&other.sign(3, false, NOW), NOW), None);
        assert!(TokenKey::is_like_token(&other.sign(3, false, NOW)));
        assert!(!TokenKey::is_like_token("SFMyNTY.g2gDbQ.oPcw") && !TokenKey::is_like_token(""));
        let same_key = TokenKey { node: 8, key: key.key.clone() };
        assert_eq!(same_key.verify(&key.sign(3, false, NOW), NOW), None);
    }

    proptest! {
        #[test]
        fn any_bit_that_is_changed_makes_it_none(
            session: u64,
            is_promise: bool,
            place: prop::sample::Index,
            bit in 0..8u8,
        ) {
            let key = TokenKey::draw(1).unwrap();
            let text = key.sign(session, is_promise, NOW);
            prop_assert_eq!(key.verify(&text, NOW).unwrap().session, session);
            let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            prop_assert_eq!(key.verify(&URL_SAFE_NO_PAD.encode(&bytes), NOW), None);
            prop_assert_eq!(key.verify(&text[..text.len() - 1], NOW), None);
        }

        #[test]
        fn any_other_text_is_none(text in ".*") {
            prop_assert_eq!(TokenKey::draw(1).unwrap().verify(&text, NOW), None);
        }
    }
}
