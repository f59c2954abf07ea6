//! Events in the body of a request.

use std::fmt;

use bytes::Bytes;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::event::NewEvent;
use crate::wire::is_json;

/// How a body carries events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON value, or an array of them: `application/json`.
    Json,
    /// One in each line: `application/x-ndjson`.
    Lines,
    /// One CloudEvent: `application/cloudevents+json`.
    CloudEvent,
    /// An array of those: `application/cloudevents-batch+json`.
    CloudEvents,
}

/// What a body may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) max_events: usize,
    pub(crate) max_event_bytes: usize,
}

/// A body that carries no events: nothing of it is taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IngestError {
    /// Of a type that is not known.
    #[error(
        "the content type is {0:?}; application/json, application/x-ndjson, \
         application/cloudevents+json or application/cloudevents-batch+json are expected"
    )]
    Format(String),
    /// It is not what it says.
    #[error("{0}")]
    Invalid(String),
    /// They are too many.
    #[error("the body has {found} events, allowed are {allowed} (http.max_events)")]
    TooMany { found: usize, allowed: usize },
    /// An event is too large.
    #[error("event {at} has {found} bytes, allowed are {allowed} (buffer.max_event_bytes)")]
    TooLarge {
        /// Counted from 0.
        at: usize,
        found: usize,
        allowed: usize,
    },
}

/// What has to be in a CloudEvent, and its key (the partitioning extension).
#[derive(Deserialize)]
struct CloudEvent<'a> {
    #[serde(borrow)]
    specversion: std::borrow::Cow<'a, str>,
    #[serde(rename = "id")]
    _id: std::borrow::Cow<'a, str>,
    #[serde(rename = "source")]
    _source: std::borrow::Cow<'a, str>,
    #[serde(rename = "type")]
    _type: std::borrow::Cow<'a, str>,
    partitionkey: Option<Box<str>>,
}

impl Format {
    /// By the value of the `content-type` header.
    pub(crate) fn parse(content_type: &str) -> Result<Self, IngestError> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            _ => Err(IngestError::Format(content_type.to_owned())),
        }
    }

    /// The events of a body. All or none.
    pub(crate) fn events(
        self,
        body: &[u8],
        bounds: Bounds,
        stamped_ms: u64,
    ) -> Result<Vec<NewEvent>, IngestError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| IngestError::Invalid(format!("the body is not UTF-8: {error}")))?;
        let Bounds { max_events, max_event_bytes } = bounds;
        let Texts { first: texts, count: found } = self.texts(text, max_events)?;
        if found > max_events {
            return Err(IngestError::TooMany { found, allowed: max_events });
        }
        let mut events = Vec::with_capacity(texts.len());
        for (at, text) in texts.into_iter().enumerate() {
            if text.len() > max_event_bytes {
                let (found, allowed) = (text.len(), max_event_bytes);
                return Err(IngestError::TooLarge { at, found, allowed });
            }
            let key = self.key(at, text)?;
            // A copy of its own: the body goes when the request is over.
            let payload = Bytes::copy_from_slice(text.as_bytes());
            events.push(NewEvent { payload, key, stamped_ms, ..NewEvent::default() });
        }
        Ok(events)
    }

    /// The JSON text of each event, as far as there are to be so many.
    fn texts(self, body: &str, most: usize) -> Result<Texts<'_>, IngestError> {
        let invalid = |error| IngestError::Invalid(format!("the body is not JSON: {error}"));
        let array = body.trim_start().starts_with('[');
        match self {
            Self::Lines => {
                let mut texts = Texts::default();
                for (at, line) in body.lines().enumerate() {
                    let line = line.trim();
                    if line.is_empty() {
                        continue;
                    }
                    if texts.count < most && !is_json(line) {
                        let (at, start) = (at + 1, line.chars().take(40).collect::<String>());
                        let problem = format!("line {at} is not JSON: {start:?}");
                        return Err(IngestError::Invalid(problem));
                    }
                    texts.add(line, most);
                }
                Ok(texts)
            }
            Self::Json | Self::CloudEvents if array => {
                let mut reader = serde_json::Deserializer::from_str(body);
                let texts = reader.deserialize_seq(Elements { most }).map_err(invalid)?;
                reader.end().map_err(invalid)?;
                Ok(texts)
            }
            Self::CloudEvents => {
                Err(IngestError::Invalid("an array of CloudEvents is expected".to_owned()))
            }
            Self::Json | Self::CloudEvent => {
                let value: &RawValue = serde_json::from_str(body).map_err(invalid)?;
                Ok(Texts { first: vec![value.get()], count: 1 })
            }
        }
    }

    fn key(self, at: usize, text: &str) -> Result<Option<Box<str>>, IngestError> {
        if matches!(self, Self::Json | Self::Lines) {
            return Ok(None);
        }
        let invalid = |problem: String| {
            IngestError::Invalid(format!("event {at} is no CloudEvent: {problem}"))
        };
        let event: CloudEvent<'_> =
            serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?;
        if !event.specversion.starts_with("1.") {
            let found = event.specversion;
            return Err(invalid(format!("specversion is {found:?}; 1.0 is expected")));
        }
        Ok(event.partitionkey)
    }
}

/// The texts of events.
#[derive(Debug, Default)]
struct Texts<'a> {
    first: Vec<&'a str>,
    /// Of all, whether they were wanted or not.
    count: usize,
}

impl<'a> Texts<'a> {
    fn add(&mut self, text: &'a str, most: usize) {
        if self.count < most {
            self.first.push(text);
        }
        self.count += 1;
    }
}

/// Reads an array, and keeps no more of it than is wanted.
struct Elements {
    most: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Texts<'de>, A::Error> {
        let mut texts = Texts::default();
        while texts.count < self.most {
            let Some(value) = elements.next_element::<&RawValue>()? else { return Ok(texts) };
            texts.add(value.get(), self.most);
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {
            texts.count += 1;
        }
        Ok(texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { max_events: 3, max_event_bytes: 100 };

    fn read(content_type: &str, body: &str) -> Result<Vec<String>, String> {
        let events = Format::parse(content_type).and_then(|f| f.events(body.as_bytes(), BOUNDS, 7));
        let events = events.map_err(|error| error.to_string())?;
        let text = |event: &NewEvent| {
            assert_eq!(event.stamped_ms, 7);
            let payload = std::str::from_utf8(&event.payload).unwrap();
            event.key.as_ref().map_or(payload.to_owned(), |key| format!("{key}: {payload}"))
        };
        Ok(events.iter().map(text).collect())
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;

    #[test]
    fn a_body_carries_one_event_or_several() {
        for (content_type, body, expected) in [
            ("application/json", " {\"a\": 1} ", vec!["{\"a\": 1}"]),
            ("application/json; charset=utf-8", "[1, {\"a\":[2]}]", vec!["1", "{\"a\":[2]}"]),
            ("Application/X-NDJSON", "{\"a\":1}\r\n\n [2]\n", vec!["{\"a\":1}", "[2]"]),
            ("application/json", "[]", vec![]),
            ("application/cloudevents+json", EVENT, vec![EVENT]),
        ] {
            assert_eq!(read(content_type, body).unwrap(), expected, "{body}");
        }
        let keyed = EVENT.replace("\"1\"", "\"1\",\"partitionkey\":\"ada\"");
        let batch = format!("[{EVENT}, {keyed}]");
        let read = read("application/cloudevents-batch+json", &batch).unwrap();
        assert_eq!(read, [EVENT.to_owned(), format!("ada: {keyed}")]);
    }

    #[test]
    fn a_wrong_body_is_named() {
        let large = format!("[1, \"{}\"]", "x".repeat(100));
        for (content_type, body, problem) in [
            ("text/plain", "", "the content type is \"text/plain\"; application/json, "),
            ("application/json", "{", "the body is not JSON: "),
            ("application/json", large.as_str(), "event 1 has 102 bytes, allowed are 100"),
            ("application/json", "[1,2,3,4,[5]]", "the body has 5 events, allowed are 3 (http.max"),
            ("application/json", "[1,2,3,4,", "the body is not JSON: "),
            ("application/json", "[1] [2]", "the body is not JSON: "),
            ("application/x-ndjson", "1\n2\n\n3\n4\n", "the body has 4 events, allowed are 3"),
            ("application/x-ndjson", "1\n{a}\n", "line 2 is not JSON: \"{a}\""),
            ("application/cloudevents-batch+json", EVENT, "an array of CloudEvents"),
            ("application/cloudevents+json", "{}", "event 0 is no CloudEvent: missing field"),
        ] {
            let error = read(content_type, body).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
