//! The payload of messages.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The payload of a message: a JSON text, or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// JSON in UTF-8.
    Json(Vec<u8>),
    /// Any bytes. Clients with version 1 of the protocol cannot receive them.
    Binary(Vec<u8>),
}

impl Payload {
    /// The JSON of a value.
    pub fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        serde_json::to_vec(value).map(Self::Json).map_err(Error::new)
    }

    /// Reads the JSON.
    ///
    /// # Errors
    ///
    /// The JSON cannot be read as a `T`, or the payload is binary. The text says which.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        match self {
            Self::Json(json) => serde_json::from_slice(json)
                .map_err(|error| Error::msg(format!("invalid payload: {error}"))),
            Self::Binary(_) => Err(Error::msg("invalid payload: JSON is expected, found bytes")),
        }
    }

    /// The bytes.
    ///
    /// # Errors
    ///
    /// The payload is JSON.
    pub fn binary(&self) -> Result<&[u8]> {
        match self {
            Self::Binary(bytes) => Ok(bytes),
            Self::Json(_) => Err(Error::msg("invalid payload: bytes are expected, found JSON")),
        }
    }

    /// Whether the payload is binary.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_))
    }
}

/// A type that can be sent: a [`Payload`] as it is, or any value as its JSON.
pub trait IntoPayload {
    /// Makes the payload.
    ///
    /// # Errors
    ///
    /// The value cannot be written as JSON.
    fn into_payload(self) -> Result<Payload>;
}

impl IntoPayload for Payload {
    fn into_payload(self) -> Result<Payload> {
        Ok(self)
    }
}

impl<T: Serialize> IntoPayload for T {
    fn into_payload(self) -> Result<Payload> {
        Payload::new(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_go_there_and_back() {
        let payload = [1, 2].into_payload().unwrap();
        assert_eq!(payload, Payload::Json(b"[1,2]".to_vec()));
        assert_eq!(payload.json::<Vec<u8>>().unwrap(), [1, 2]);
    }

    #[test]
    fn a_wrong_payload_says_what_is_expected() {
        let binary = Payload::Binary(vec![1]);
        assert!(binary.json::<u8>().unwrap_err().to_string().contains("JSON is expected"));
        let json = Payload::Json(b"{}".to_vec());
        assert!(json.json::<u8>().unwrap_err().to_string().contains("expected u8"));
        assert!(json.binary().unwrap_err().to_string().contains("bytes are expected"));
    }
}
