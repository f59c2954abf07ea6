//! Secrets of the configuration.

use std::fmt;

use crate::ConfigError;
use crate::encoding::decode_any_base64;

/// A secret that signer and server share. Its `Debug` form does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The bytes of a text, as it is: `secret_key_base` of Phoenix is used so, though it looks like
    /// base64.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// The bytes that a base64 text encodes, of either alphabet, with or without padding.
    ///
    /// # Errors
    ///
    /// The text is not base64.
    pub fn from_base64(text: &str) -> Result<Self, ConfigError> {
        decode_any_base64(text).map(Self).ok_or(ConfigError::SecretNotBase64)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the text of a key, which is no secret.
    pub(crate) fn is_key_text(&self) -> bool {
        let text = self.0.trim_ascii_start();
        text.starts_with(b"-----BEGIN") || text.starts_with(b"{")
    }

    /// Demands a number of bytes.
    pub(crate) fn check_length(&self, what: &'static str, min: usize) -> Result<(), ConfigError> {
        let found = self.0.len();
        if found < min { Err(ConfigError::SecretTooShort { what, found, min }) } else { Ok(()) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::from_text("hunter2")), "Secret(…)");
    }

    #[test]
    fn text_is_taken_as_it_is_and_base64_is_decoded() {
        assert_eq!(Secret::from_text("aGk=").bytes(), b"aGk=");
        assert_eq!(Secret::from_base64("aGk=").unwrap().bytes(), b"hi");
        assert_eq!(Secret::from_base64("hunter two!"), Err(ConfigError::SecretNotBase64));
    }
}
