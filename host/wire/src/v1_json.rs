//! Version 1 frames: `{"topic", "event", "payload", "ref"}`, text only.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tungstenite::Utf8Bytes;

use super::json::{json_problem, push_string};
use super::message::checked_event;
use super::scan::Scanner;
use super::v2_json::share;
use super::{DecodeError, Frame, Message, Ref};

/// The keys that a message must have, for error texts.
const KEYS: &str = r#"{"topic", "event", "payload", "ref"}"#;

/// Reads one object. `topic`, `event`, `payload` and `ref` must be there,
/// `join_ref` may; other keys are ignored.
pub(super) fn decode(text: &Utf8Bytes) -> Result<Message<'_>, DecodeError> {
    let mut scanner = Scanner::new(text);
    if scanner.peek() != Some(b'{') {
        return Err(scanner.expected(KEYS));
    }
    let parts: Parts<'_> = serde_json::from_str(text).map_err(|error| problem(text, &error))?;
    for raw in parts.join_ref.into_iter().chain([parts.reference]) {
        json_problem(raw.get()).map_or(Ok(()), |problem| Err(DecodeError(problem)))?;
    }
    let join_ref = parts.join_ref.map_or(Ok(None), |raw| Ref::from_json(raw.get()))?;
    let reference = Ref::from_json(parts.reference.get())?;
    Ok(Message {
        join_ref,
        reference,
        topic: parts.topic,
        event: checked_event(parts.event)?,
        payload: share(text, parts.payload.get()),
        problem: json_problem(parts.payload.get()).map(Into::into),
    })
}

/// What is wrong with an object that is no message, said in terms of the protocol's keys.
fn problem(text: &str, error: &serde_json::Error) -> DecodeError {
    let said = error.to_string();
    let key_after = |before| said.strip_prefix(before).and_then(|rest| rest.split('`').next());
    DecodeError(if let Some(key) = key_after("missing field `") {
        format!("{key:?} is missing; {KEYS} is expected")
    } else if let Some(key) = key_after("duplicate field `") {
        format!("{key:?} is there twice; once is expected")
    } else if error.is_data() {
        "\"topic\" and \"event\" are strings, and something else was found".to_owned()
    } else {
        json_problem(text).unwrap_or_else(|| format!("{KEYS} is expected"))
    })
}

pub(super) fn reply(reference: Option<&Ref>, topic: &str, status: &str, response: &str) -> Frame {
    let mut payload = String::with_capacity(status.len() + response.len() + 26);
    payload.push_str("{\"status\":");
    push_string(&mut payload, status);
    payload.push_str(",\"response\":");
    payload.push_str(response);
    payload.push('}');
    message(reference, topic, "phx_reply", &payload)
}

pub(super) fn message(reference: Option<&Ref>, topic: &str, event: &str, payload: &str) -> Frame {
    let reference = reference.map_or("null", Ref::as_json);
    let parts = topic.len() + event.len() + payload.len() + reference.len();
    let mut out = String::with_capacity(parts + 44);
    out.push_str("{\"topic\":");
    push_string(&mut out, topic);
    out.push_str(",\"event\":");
    push_string(&mut out, event);
    out.push_str(",\"payload\":");
    out.push_str(payload);
    out.push_str(",\"ref\":");
    out.push_str(reference);
    out.push('}');
    out.into()
}

#[derive(Deserialize)]
struct Parts<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(borrow, rename = "ref")]
    reference: &'a RawValue,
    #[serde(borrow)]
    join_ref: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Payload;

    #[test]
    fn a_message_is_taken_apart() {
        let frame = r#"{"ref":"2","payload":null,"event":"ping","topic":"room:a","x":0}"#.into();
        let message = decode(&frame).unwrap();
        assert_eq!((message.topic.as_ref(), message.event.as_ref()), ("room:a", "ping"));
        assert_eq!(message.reference.unwrap().as_json(), r#""2""#);
        assert_eq!(message.join_ref, None);
        assert_eq!(message.payload, Payload::Json("null".into()));
    }

    #[test]
    fn what_is_no_message_is_told_in_words_of_the_protocol() {
        for (text, told) in [
            ("garbage", r#"expected {"topic", "event", "payload", "ref"} at byte 0, found 'g'"#),
            ("[]", r#"expected {"topic", "event", "payload", "ref"} at byte 0, found '['"#),
            // The same in the order of the keys.
            (r#"["t","e",{},"1",null]"#, "at byte 0, found '['"),
            ("", "at byte 0, found the end"),
            ("{", "expected a key"),
            (r#"{"topic":"t","event":"e","payload":nope,"ref":"1"}"#, "expected a JSON value"),
            (r#"{"topic":"t","event":"e","payload":{},"ref":"1"} x"#, "expected the end"),
            (r#"{"topic":"\ud800","event":"e","payload":{},"ref":"1"}"#, "half of a surrogate"),
            (r#"{"topic":"t","event":"e","payload":{}}"#, r#""ref" is missing; {"topic", "#),
            (r#"{"topic":"t","topic":"t"}"#, r#""topic" is there twice"#),
            (r#"{"topic":1,"event":"e","payload":{},"ref":"1"}"#, r#""topic" and "event" are"#),
        ] {
            let error = decode(&text.into()).unwrap_err().to_string();
            assert!(error.starts_with("malformed frame: ") && error.contains(told), "{error}");
            assert!(error.len() <= 123, "a close reason has no room for {error}");
            for word in ["struct", "column", "field"] {
                assert!(!error.contains(word), "{error}");
            }
        }
    }

    #[test]
    fn an_event_has_so_many_bytes() {
        let with = |event: &str| {
            decode(&format!(r#"{{"topic":"t","event":"{event}","payload":{{}},"ref":"1"}}"#).into())
                .map(|message| message.event.len())
        };
        assert_eq!(with(&"x".repeat(255)), Ok(255));
        let error = with(&"é".repeat(128)).unwrap_err().to_string();
        assert!(error.contains("an event may have at most 255 bytes, found 256"), "{error}");
    }

    #[test]
    fn a_reply_is_an_object() {
        let frame = reply(Ref::from_header("2").as_ref(), "t", "ok", "{}");
        let expected = r#"{"topic":"t","event":"phx_reply","payload":{"status":"ok","response":{}},"ref":"2"}"#;
        assert_eq!(frame, Frame::Text(expected.into()));
    }
}
