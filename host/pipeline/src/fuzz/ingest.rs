//! Fuzzing of the bodies of requests that carry events.

use millrace_choices::Choices;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::{Bounds, Format, Selector};

const BOUNDS: Bounds = Bounds { max_events: 10, max_event_bytes: 200 };
const CONTENT_TYPES: [&str; 5] = [
    "application/json",
    "application/x-ndjson",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
    "text/plain",
];
/// The headers with the required attributes of a CloudEvent in binary mode.
const HEADERS: [(&str, &[u8]); 4] =
    [("ce-id", b"1"), ("ce-source", b"/s"), ("ce-specversion", b"1.0"), ("ce-type", b"t")];

/// Reads events from a body. Either the body is refused, or all of its events are returned: no more
/// than the bounds allow, each of them JSON and no larger than they allow.
pub fn ingest(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let mut headers = Vec::new();
    let content_type = match input.byte() {
        255 => input.text(),
        254 => {
            headers.extend(HEADERS);
            headers.push(("ce-subject", input.bytes()));
            input.text()
        }
        other => CONTENT_TYPES.iter().cycle().nth(other.into()).copied().unwrap_or_default().into(),
    };
    let body = input.rest();
    let Ok(format) = Format::of(Some(&content_type), headers.into_iter()) else { return };
    let Ok(events) = format.events(body, BOUNDS, 7) else { return };
    assert!(events.len() <= BOUNDS.max_events, "{} events", events.len());
    let mut total = 0;
    for event in &events {
        let Ok(text) = std::str::from_utf8(&event.payload) else { unreachable!("not UTF-8") };
        let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
        assert!(text.len() <= BOUNDS.max_event_bytes && is_json, "{text:?}");
        assert_eq!(event.enqueued_unix_ms, 7);
        total += text.len();
        keys(text);
    }
    match format {
        Format::Data(_) => assert_eq!(events.len(), 1),
        _ => assert!(total <= body.len(), "{total} bytes of {}", body.len()),
    }
    if format == Format::Json
        && let Ok(value) = serde_json::from_slice::<Value>(body)
    {
        let expected = value.as_array().map_or(1, Vec::len);
        assert_eq!(events.len(), expected);
    }
}

/// Selects an event by a place in its JSON, and compares the result with that of `serde_json`.
fn keys(event: &str) {
    let Ok(value) = serde_json::from_str::<Value>(event) else { return };
    let wanted = [("/user".to_owned(), vec!["ada".to_owned()])];
    if let Ok(selector) = Selector::new(wanted.into()) {
        let expected = value.pointer("/user").and_then(Value::as_str) == Some("ada");
        assert_eq!(selector.selects(event), expected);
    }
}
