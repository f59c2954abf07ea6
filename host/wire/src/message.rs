//! Messages: what a frame means, whatever version it is written in.

use std::borrow::Cow;

use bytes::Bytes;
use bytestring::ByteString;

use super::Ref;

/// A message from the client.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    /// The ref of the join this message belongs to, as the client gives it.
    pub join_ref: Option<Ref>,
    /// The message's ref, which its reply carries again.
    pub reference: Option<Ref>,
    /// The topic, for example `room:lobby`.
    pub topic: Cow<'a, str>,
    /// The event, for example `phx_join` or `new_msg`; at most 255 bytes.
    pub event: Cow<'a, str>,
    /// The payload, which shares the memory of the frame.
    pub payload: Payload,
    /// What is wrong with a payload that is JSON and yet refused by many parsers. No plugin gets
    /// such a payload; its sender is told this text.
    pub problem: Option<Box<str>>,
}

/// A message's payload, passed on unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// One valid JSON text.
    Json(ByteString),
    /// Any bytes.
    Binary(Bytes),
}

impl Payload {
    /// The empty JSON object.
    #[must_use]
    pub const fn empty() -> Self {
        Self::Json(ByteString::from_static("{}"))
    }

    /// A JSON object with the single key `reason`.
    #[must_use]
    pub fn reason(reason: &str) -> Self {
        let mut text = String::with_capacity(reason.len() + 16);
        text.push_str("{\"reason\":");
        super::json::push_string(&mut text, reason);
        text.push('}');
        Self::Json(text.into())
    }

    /// As [`Self::reason`], with a second key `retry_after_ms`: the time in milliseconds after
    /// which another attempt makes sense.
    #[must_use]
    pub fn retry(reason: &str, retry_after_ms: u64) -> Self {
        let mut text = String::from("{\"reason\":");
        super::json::push_string(&mut text, reason);
        text.push_str(&format!(",\"retry_after_ms\":{retry_after_ms}}}"));
        Self::Json(text.into())
    }

    /// The payload's size in bytes.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// A copy that shares memory with nothing else.
    #[must_use]
    pub fn to_own(&self) -> Self {
        match self {
            Self::Json(text) => Self::Json(ByteString::from(text.to_string())),
            Self::Binary(bytes) => Self::Binary(Bytes::copy_from_slice(bytes)),
        }
    }

    /// Whether there are no bytes; a JSON payload always has some.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The limit of an event in bytes. A longer one makes its frame malformed in every version: events
/// are kept as long as they are measured, and binary frames have room for no more.
const MAX_EVENT_BYTES: usize = 255;

/// The event of a text frame, or an error if it is longer than [`MAX_EVENT_BYTES`].
pub(super) fn checked_event(event: Cow<'_, str>) -> Result<Cow<'_, str>, DecodeError> {
    match event.len() {
        0..=MAX_EVENT_BYTES => Ok(event),
        found => Err(DecodeError(format!(
            "an event may have at most {MAX_EVENT_BYTES} bytes, found {found}"
        ))),
    }
}

/// A frame that is no message of the protocol. The text goes to the client as
/// the close reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed frame: {0}")]
pub struct DecodeError(pub(super) String);

/// A message that the client's protocol version cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Protocol version 1 has no binary frames.
    #[error("a binary payload needs a client of protocol version 2.0.0")]
    BinaryInV1,
    /// The header of a binary frame holds at most 255 bytes of each part.
    #[error("the {part} of a binary frame may have 255 bytes, found {len}")]
    TooLong {
        /// The name of the header's part, for example `topic`.
        part: &'static str,
        /// The part's size in bytes.
        len: usize,
    },
}
