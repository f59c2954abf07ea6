//! Version 1 frames: `{"topic", "event", "payload", "ref"}`, text only.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::json::{json_problem, push_string};
use super::message::checked_event;
use super::v2_json::share;
use super::{DecodeError, Frame, Message, Ref};

/// Reads one object. `topic`, `event`, `payload` and `ref` must be there,
/// `join_ref` may; other keys are ignored.
pub(super) fn decode(text: &Utf8Bytes) -> Result<Message<'_>, DecodeError> {
    let parts: Parts<'_> =
        serde_json::from_str(text).map_err(|error| DecodeError(error.to_string()))?;
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
    use crate::wire::Payload;

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
    fn a_missing_key_is_named() {
        let error = decode(&r#"{"topic":"t","event":"e","payload":{}}"#.into()).unwrap_err();
        assert!(error.to_string().contains("missing field `ref`"), "{error}");
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
