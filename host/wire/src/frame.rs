//! One WebSocket data message, ready to be written.

use bytes::Bytes;
use tungstenite::Utf8Bytes;

/// One WebSocket data message. Cloning shares the bytes, so a broadcast is
/// encoded once and handed to every subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A text frame, opcode 1 (RFC 6455).
    Text(Utf8Bytes),
    /// A binary frame, opcode 2.
    Binary(Bytes),
}

impl Frame {
    /// The payload's size in bytes, without the WebSocket header.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the payload has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<String> for Frame {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}
