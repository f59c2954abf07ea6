//! Version 2 text frames: `[join_ref, ref, topic, event, payload]`.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use bytestring::ByteString;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::json::push_string;
use super::{DecodeError, Frame, Message, Payload, Ref};

/// Reads one array of at least five elements; more are ignored.
pub(super) fn decode(text: &Utf8Bytes) -> Result<Message<'_>, DecodeError> {
    let parts: Parts<'_> =
        serde_json::from_str(text).map_err(|error| DecodeError(error.to_string()))?;
    let scalar = |raw: &RawValue| Ref::from_json(raw.get()).map_err(|e| DecodeError(e.to_owned()));
    Ok(Message {
        join_ref: scalar(parts.join_ref)?,
        reference: scalar(parts.reference)?,
        topic: parts.topic,
        event: parts.event,
        payload: share(text, parts.payload),
    })
}

/// The part of a frame that `raw` borrows, without a copy.
pub(super) fn share(text: &Utf8Bytes, raw: &RawValue) -> Payload {
    let frame: &Bytes = text.as_ref();
    let slice = frame.slice_ref(raw.get().as_bytes());
    // The check cannot fail, as `raw` is a `str`; it costs less than a copy.
    Payload::Json(ByteString::try_from(slice).unwrap_or_else(|_| ByteString::from(raw.get())))
}

pub(super) fn reply(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    status: &str,
    response: &str,
) -> Frame {
    let mut out = head(join_ref, reference, topic, "phx_reply", status.len() + response.len() + 32);
    out.push_str("{\"status\":");
    push_string(&mut out, status);
    out.push_str(",\"response\":");
    out.push_str(response);
    out.push_str("}]");
    out.into()
}

pub(super) fn message(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    event: &str,
    payload: &str,
) -> Frame {
    let mut out = head(join_ref, reference, topic, event, payload.len() + 1);
    out.push_str(payload);
    out.push(']');
    out.into()
}

/// Everything up to the payload, with room for `rest` more bytes.
fn head(
    join_ref: Option<&Ref>,
    reference: Option<&Ref>,
    topic: &str,
    event: &str,
    rest: usize,
) -> String {
    let join_ref = join_ref.map_or("null", Ref::as_json);
    let reference = reference.map_or("null", Ref::as_json);
    let fixed = join_ref.len() + reference.len() + topic.len() + event.len() + 10;
    let mut out = String::with_capacity(fixed + rest);
    out.push('[');
    out.push_str(join_ref);
    out.push(',');
    out.push_str(reference);
    out.push(',');
    push_string(&mut out, topic);
    out.push(',');
    push_string(&mut out, event);
    out.push(',');
    out
}

/// The array, taken apart no further than it has to be.
struct Parts<'a> {
    join_ref: &'a RawValue,
    reference: &'a RawValue,
    topic: Cow<'a, str>,
    event: Cow<'a, str>,
    payload: &'a RawValue,
}

/// A string that borrows from the frame unless it holds escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[join_ref, ref, topic, event, payload]")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let short = |found| A::Error::invalid_length(found, &self);
        let parts = Parts {
            join_ref: seq.next_element()?.ok_or_else(|| short(0))?,
            reference: seq.next_element()?.ok_or_else(|| short(1))?,
            topic: seq.next_element::<Text<'_>>()?.ok_or_else(|| short(2))?.0,
            event: seq.next_element::<Text<'_>>()?.ok_or_else(|| short(3))?.0,
            payload: seq.next_element()?.ok_or_else(|| short(4))?,
        };
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(frame: Frame) -> String {
        match frame {
            Frame::Text(text) => text.as_str().to_owned(),
            Frame::Binary(_) => panic!("a text frame was expected"),
        }
    }

    #[test]
    fn a_message_is_taken_apart() {
        let frame = Utf8Bytes::from_static(r#" ["11", 1, "room:\u00e9", "ping", {"a": [1]}, 9] "#);
        let message = decode(&frame).unwrap();
        assert_eq!(message.join_ref.unwrap().as_json(), r#""11""#);
        assert_eq!(message.reference.unwrap().as_json(), "1");
        assert_eq!(message.topic, "room:é");
        assert_eq!(message.event, "ping");
        assert_eq!(message.payload, Payload::Json(r#"{"a": [1]}"#.into()));
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        for (bad, problem) in [
            (r#"[null,"1","t","e"]"#, "invalid length 4, expected [join_ref"),
            (r#"{"topic":"t"}"#, "invalid type: map, expected [join_ref"),
            (r#"[null,"1",7,"e",{}]"#, "invalid type: integer `7`, expected a string"),
            (r#"[[],"1","t","e",{}]"#, "a ref must be a JSON string"),
            ("[null", "EOF while parsing"),
            (r#"[null,null,"t","e",{]"#, "key must be a string"),
        ] {
            let error = decode(&bad.into()).unwrap_err().to_string();
            assert!(error.contains(problem), "{bad}: {error}");
        }
    }

    #[test]
    fn frames_are_written_as_phoenix_does() {
        let (join_ref, reference) = (Ref::from_header("11").unwrap(), Ref::from_header("1"));
        assert_eq!(
            text(reply(Some(&join_ref), reference.as_ref(), "t", "ok", "{}")),
            r#"["11","1","t","phx_reply",{"status":"ok","response":{}}]"#
        );
        assert_eq!(text(message(None, None, "t\"", "e", "[]")), r#"[null,null,"t\"","e",[]]"#);
    }
}
