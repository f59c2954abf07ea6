//! The serializer: one interface to both versions of the protocol.

use super::{DecodeError, EncodeError, Frame, Message, Payload, Ref, v1_json, v2_binary, v2_json};

/// The protocol version a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// `vsn` 1.0.x or none: JSON objects.
    V1,
    /// `vsn` 2.0.x: JSON arrays, and binary frames for binary payloads.
    V2,
}

impl Serializer {
    /// The serializer for the `vsn` parameter of a client's URL: a full version number, 1.0.x or
    /// 2.0.x. `None` for every other text.
    #[must_use]
    pub fn for_vsn(vsn: &str) -> Option<Self> {
        let version = semver::Version::parse(vsn).ok()?;
        match (version.major, version.minor, version.pre.is_empty()) {
            (1, 0, true) => Some(Self::V1),
            (2, 0, true) => Some(Self::V2),
            _ => None,
        }
    }

    /// Decodes a client's frame. The message borrows from the frame; its payload shares the frame's
    /// bytes.
    ///
    /// # Errors
    ///
    /// The frame is no message of this version. The error's text is meant for the client.
    pub fn decode(self, frame: &Frame) -> Result<Message<'_>, DecodeError> {
        match (self, frame) {
            (Self::V1, Frame::Text(text)) => v1_json::decode(text),
            (Self::V1, Frame::Binary(_)) => {
                Err(DecodeError("protocol version 1.0.0 has no binary frames".to_owned()))
            }
            (Self::V2, Frame::Text(text)) => v2_json::decode(text),
            (Self::V2, Frame::Binary(bytes)) => v2_binary::decode(bytes),
        }
    }

    /// Encodes a reply to a message.
    ///
    /// # Errors
    ///
    /// The payload is binary, and version 1 has no binary frames or a part of the header is longer
    /// than 255 bytes. The same holds for [`Self::push`] and [`Self::broadcast`].
    pub fn reply(
        self,
        join_ref: Option<&Ref>,
        reference: Option<&Ref>,
        topic: &str,
        status: &str,
        payload: &Payload,
    ) -> Result<Frame, EncodeError> {
        match (self, payload) {
            (Self::V1, Payload::Json(json)) => Ok(v1_json::reply(reference, topic, status, json)),
            (Self::V1, Payload::Binary(_)) => Err(EncodeError::BinaryInV1),
            (Self::V2, Payload::Json(json)) => {
                Ok(v2_json::reply(join_ref, reference, topic, status, json))
            }
            (Self::V2, Payload::Binary(bytes)) => {
                v2_binary::reply(join_ref, reference, topic, status, bytes)
            }
        }
    }

    /// Encodes a message to one channel of one client.
    pub fn push(
        self,
        join_ref: Option<&Ref>,
        topic: &str,
        event: &str,
        payload: &Payload,
    ) -> Result<Frame, EncodeError> {
        match (self, payload) {
            (Self::V1, Payload::Json(json)) => Ok(v1_json::message(None, topic, event, json)),
            (Self::V1, Payload::Binary(_)) => Err(EncodeError::BinaryInV1),
            (Self::V2, Payload::Json(json)) => {
                Ok(v2_json::message(join_ref, None, topic, event, json))
            }
            (Self::V2, Payload::Binary(bytes)) => v2_binary::push(join_ref, topic, event, bytes),
        }
    }

    /// Encodes a message to every subscriber of a topic; the frame is the same for all of them.
    pub fn broadcast(
        self,
        topic: &str,
        event: &str,
        payload: &Payload,
    ) -> Result<Frame, EncodeError> {
        match (self, payload) {
            (Self::V2, Payload::Binary(bytes)) => v2_binary::broadcast(topic, event, bytes),
            _ => self.push(None, topic, event, payload),
        }
    }

    /// Encodes the end of a channel, `phx_close` or `phx_error`: both its ref and its join ref are
    /// the join ref, as in Phoenix.
    #[must_use]
    pub fn channel_end(
        self,
        join_ref: Option<&Ref>,
        topic: &str,
        event: &str,
        payload: &str,
    ) -> Frame {
        match self {
            Self::V1 => v1_json::message(join_ref, topic, event, payload),
            Self::V2 => v2_json::message(join_ref, join_ref, topic, event, payload),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_chosen_as_phoenix_does() {
        for (vsn, expected) in [
            ("1.0.0", Some(Serializer::V1)),
            ("2.0.0", Some(Serializer::V2)),
            ("2.0.17", Some(Serializer::V2)),
            ("2.1.0", None),
            ("2.0", None),
            ("2.0.0-rc.1", None),
            ("3.0.0", None),
            ("two", None),
            ("", None),
        ] {
            assert_eq!(Serializer::for_vsn(vsn), expected, "{vsn}");
        }
    }

    #[test]
    fn binary_needs_version_2() {
        let payload = Payload::Binary(b"x".as_slice().into());
        assert_eq!(Serializer::V1.broadcast("t", "e", &payload), Err(EncodeError::BinaryInV1));
        assert!(Serializer::V1.decode(&Frame::Binary(b"x".as_slice().into())).is_err());
    }
}
