//! Base64 as tokens and keys have it.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD};

/// Padding or none, as people paste it.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Base64url without padding, in its one canonical form: a token has no second spelling.
pub(crate) fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Bytes as base64url without padding.
pub(crate) fn encode_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Base64 of either alphabet, with or without padding, with line breaks and spaces.
pub(crate) fn decode_any_base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    let alphabet = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    GeneralPurpose::new(alphabet, LENIENT).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling() {
        assert_eq!(decode_base64url("-_8"), Some(vec![0xfb, 0xff]));
        for other in ["-_9", "-_8=", "+/8", "-_8 ", "-"] {
            assert_eq!(decode_base64url(other), None, "{other}");
        }
    }

    #[test]
    fn what_people_paste_is_read() {
        for text in ["-_8", "-_8=", "+/8=", "+/\n8="] {
            assert_eq!(decode_any_base64(text), Some(vec![0xfb, 0xff]), "{text}");
        }
        assert_eq!(decode_any_base64("+_8"), None);
        assert_eq!(decode_any_base64("?"), None);
    }
}
