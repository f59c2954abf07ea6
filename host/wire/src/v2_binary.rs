//! Version 2 binary frames. Every size is one byte; there is no padding.
//!
//! ```text
//! client → server push       0 | join_ref ref topic event  sizes | the same | payload
//! server → client push       0 | join_ref topic event      sizes | the same | payload
//! server → client reply      1 | join_ref ref topic status sizes | the same | payload
//! server → client broadcast  2 | topic event               sizes | the same | payload
//! ```

use std::borrow::Cow;

use bytes::Bytes;

use super::{DecodeError, EncodeError, Frame, Message, Payload, Ref};

const PUSH: u8 = 0;
const REPLY: u8 = 1;
const BROADCAST: u8 = 2;

/// Reads a client's push; clients send no other kind.
pub(super) fn decode(frame: &Bytes) -> Result<Message<'_>, DecodeError> {
    let error = |text: String| Err(DecodeError(text));
    let (kind, sizes, rest) = match frame.as_ref() {
        [kind, a, b, c, d, rest @ ..] => (*kind, [*a, *b, *c, *d], rest),
        short => return error(format!("binary header of 5 bytes expected, found {}", short.len())),
    };
    if kind != PUSH {
        return error(format!("binary kind 0 expected, found {kind}"));
    }
    let header: usize = sizes.iter().map(|&size| usize::from(size)).sum();
    if rest.len() < header {
        return error(format!("binary header announces {header} bytes, found {}", rest.len()));
    }
    let mut rest = rest;
    let mut part = |size: u8| {
        let (part, after) = rest.split_at(usize::from(size));
        rest = after;
        std::str::from_utf8(part).map_err(|_| DecodeError("binary header is not UTF-8".to_owned()))
    };
    let [join_ref, reference, topic, event] =
        [part(sizes[0])?, part(sizes[1])?, part(sizes[2])?, part(sizes[3])?];
    Ok(Message {
        join_ref: Ref::from_header(join_ref),
        reference: Ref::from_header(reference),
        topic: Cow::Borrowed(topic),
        event: Cow::Borrowed(event),
        payload: Payload::Binary(frame.slice_ref(rest)),
        problem: None,
    })
}

pub(super) fn push(
    join_ref: Option<&Ref>,
    topic: &str,
    event: &str,
    payload: &[u8],
) -> Result<Frame, EncodeError> {
    let join_ref = join_ref.map(Ref::to_header).unwrap_or_default();
    encode(PUSH, &[("join_ref", &join_ref), ("topic", topic), ("event", event)], payload)
}

pub(super) fn reply(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    status: &str,
    payload: &[u8],
) -> Result<Frame, EncodeError> {
    let join_ref = join_ref.map(Ref::to_header).unwrap_or_default();
    let reference = reference.map(Ref::to_header).unwrap_or_default();
    let parts =
        [("join_ref", &*join_ref), ("ref", &*reference), ("topic", topic), ("status", status)];
    encode(REPLY, &parts, payload)
}

pub(super) fn broadcast(topic: &str, event: &str, payload: &[u8]) -> Result<Frame, EncodeError> {
    encode(BROADCAST, &[("topic", topic), ("event", event)], payload)
}

fn encode(kind: u8, parts: &[(&'static str, &str)], payload: &[u8]) -> Result<Frame, EncodeError> {
    let text: usize = parts.iter().map(|(_, text)| text.len()).sum();
    let mut out = Vec::with_capacity(1 + parts.len() + text + payload.len());
    out.push(kind);
    for &(part, text) in parts {
        let len = text.len();
        out.push(u8::try_from(len).map_err(|_| EncodeError::TooLong { part, len })?);
    }
    for (_, text) in parts {
        out.extend_from_slice(text.as_bytes());
    }
    out.extend_from_slice(payload);
    Ok(Frame::Binary(out.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(frame: Result<Frame, EncodeError>) -> Vec<u8> {
        match frame.unwrap() {
            Frame::Binary(bytes) => bytes.to_vec(),
            Frame::Text(text) => panic!("a binary frame was expected, found {text}"),
        }
    }

    #[test]
    fn a_push_is_taken_apart() {
        // kind 0, then the sizes 2, 3, 5 and 5.
        let frame = Bytes::from_static(b"\0\x02\x03\x05\x0512123topiceventa\xff");
        let message = decode(&frame).unwrap();
        assert_eq!(message.join_ref.unwrap().as_json(), r#""12""#);
        assert_eq!(message.reference.unwrap().as_json(), r#""123""#);
        assert_eq!((message.topic.as_ref(), message.event.as_ref()), ("topic", "event"));
        assert_eq!(message.payload, Payload::Binary(Bytes::from_static(b"a\xff")));
    }

    #[test]
    fn frames_are_written_as_phoenix_does() {
        let (join_ref, reference) = (Ref::from_header("12"), Ref::from_header("123"));
        assert_eq!(
            bytes(push(join_ref.as_ref(), "topic", "event", b"101")),
            b"\0\x02\x05\x0512topicevent101"
        );
        assert_eq!(
            bytes(reply(join_ref.as_ref(), reference.as_ref(), "topic", "ok", b"101")),
            b"\x01\x02\x03\x05\x0212123topicok101"
        );
        assert_eq!(bytes(broadcast("topic", "event", b"101")), b"\x02\x05\x05topicevent101");
    }

    #[test]
    fn long_parts_are_refused() {
        let long = "x".repeat(256);
        let error = broadcast(&long, "e", b"").unwrap_err();
        assert_eq!(error, EncodeError::TooLong { part: "topic", len: 256 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(frame in proptest::collection::vec(0u8..6, 0..40)) {
            let frame = Bytes::from(frame);
            if let Ok(message) = decode(&frame) {
                prop_assert!(message.payload.len() + 5 <= frame.len());
            }
        }
    }
}
