//! Data → token, for development and tests.

use serde_json::Value;

use super::keys::HS256;
use super::{MaxAge, PhoenixKeys};
use crate::encoding::encode_base64url;
use crate::etf::{EncodeError, Encoder};

/// Why data cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The data is nested deeper than verifying allows.
    #[error("the data is nested too deep for a token; 31 levels are allowed")]
    TooDeep,
    /// The data has more parts than verifying allows.
    #[error("the data has too many parts for a token; some 4000 values and keys are allowed")]
    TooLarge,
}

impl From<EncodeError> for SignError {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::TooDeep => Self::TooDeep,
            EncodeError::TooLarge => Self::TooLarge,
        }
    }
}

impl PhoenixKeys {
    /// Signs data with the first secret, as `Phoenix.Token.sign/4` does: what is signed is the
    /// data as Elixir would have it after decoding JSON, with strings as keys.
    ///
    /// # Errors
    ///
    /// The data is too deep or has too many parts.
    pub fn sign(
        &self,
        data: &Value,
        signed_at_unix_ms: u64,
        max_age: MaxAge,
    ) -> Result<String, SignError> {
        let mut term = Encoder::new();
        term.tuple(3)?;
        term.json(data, 1)?;
        term.integer(signed_at_unix_ms.into())?;
        match max_age {
            MaxAge::Seconds(seconds) => term.integer(seconds.into())?,
            MaxAge::Infinite => term.atom("infinity")?,
        }
        Ok(self.sign_term(&term.into_bytes()))
    }

    /// A token of any bytes as its term.
    pub(crate) fn sign_term(&self, term: &[u8]) -> String {
        let mut token = format!("{HS256}.{}", encode_base64url(term));
        let mac = self.mac(token.as_bytes());
        token.push('.');
        token.push_str(&encode_base64url(mac.as_ref()));
        token
    }
}
