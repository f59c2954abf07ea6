//! Reading events from the body of an HTTP request.

use std::fmt;

use bytes::Bytes;
use serde::Deserializer;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::cloud_event::{self, Attributes};
use super::event::NewEvent;

/// The format in which a body carries events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON value, several values one after the other, or an array of values:
    /// `application/json`. Each value is an event.
    Json,
    /// A JSON value in each line, each an event: `application/x-ndjson`. Empty lines are skipped.
    Lines,
    /// One CloudEvent: `application/cloudevents+json`.
    CloudEvent,
    /// An array of CloudEvents: `application/cloudevents-batch+json`.
    CloudEvents,
    /// The data of one CloudEvent, whose attributes are headers (binary mode).
    Data(Box<Attributes>),
}

/// The bounds of a body. A body beyond one of them is refused as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The number of events of one request at most (`http.max_events`).
    pub max_events: usize,
    /// The largest payload of an event in bytes (`buffer.max_event_bytes`).
    pub max_event_bytes: usize,
}

/// The reason why no event of a body is accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The content type is not known.
    #[error(
        "the content type is {0:?}; application/json, application/x-ndjson, \
         application/cloudevents+json or application/cloudevents-batch+json are expected, or \
         another type with the ce- headers of a CloudEvent"
    )]
    Format(String),
    /// The body or a header is not what the content type says; the message names the place.
    #[error("{0}")]
    Invalid(String),
    /// The body has more events than a request may have.
    #[error("the body has {found} events, allowed are {allowed} (http.max_events)")]
    TooMany {
        /// The number of events of the body.
        found: usize,
        /// The number of events that a request may have.
        allowed: usize,
    },
    /// An event is too large.
    #[error("event {at} has {found} bytes, allowed are {allowed} (buffer.max_event_bytes)")]
    TooLarge {
        /// The place of the event in the body, counted from 0.
        at: usize,
        /// The size of its payload in bytes.
        found: usize,
        /// The largest size of a payload in bytes.
        allowed: usize,
    },
}

impl Format {
    /// Reads the format from the headers of a request: its `content-type`, and the `ce-` headers
    /// of a CloudEvent in binary mode.
    ///
    /// # Errors
    ///
    /// When the content type is not known, or the `ce-` headers are no CloudEvent.
    pub fn of<'a>(
        content_type: Option<&str>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, IngestError> {
        let given = content_type.unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/cloudevents+json" => return Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => return Ok(Self::CloudEvents),
            // CloudEvents in a format that this server does not read, such as XML.
            other if other.starts_with("application/cloudevents") => {
                return Err(IngestError::Format(given.to_owned()));
            }
            _ => {}
        }
        if let Some(attributes) = Attributes::read(content_type, headers)? {
            return Ok(Self::Data(Box::new(attributes)));
        }
        match essence.as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Self::Lines),
            _ => Err(IngestError::Format(given.to_owned())),
        }
    }

    /// Reads the events of a body. `enqueued_unix_ms` is the time at which the request came, in
    /// milliseconds since the Unix epoch.
    ///
    /// # Errors
    ///
    /// When the body is not in this format, or is beyond one of the bounds; then none of its
    /// events is returned.
    pub fn events(
        &self,
        body: &[u8],
        bounds: Bounds,
        enqueued_unix_ms: u64,
    ) -> Result<Vec<NewEvent>, IngestError> {
        let Bounds { max_events, max_event_bytes } = bounds;
        let event = |at, payload: Bytes, key| {
            let (found, allowed) = (payload.len(), max_event_bytes);
            match found > allowed {
                true => Err(IngestError::TooLarge { at, found, allowed }),
                false => Ok(NewEvent { payload, key, enqueued_unix_ms, ..NewEvent::default() }),
            }
        };
        if let Self::Data(attributes) = self {
            let payload = attributes.with_data(body)?;
            return Ok(vec![event(0, payload.into(), attributes.key())?]);
        }
        let text = std::str::from_utf8(body)
            .map_err(|error| IngestError::Invalid(format!("the body is not UTF-8: {error}")))?;
        // Some programs send a byte order mark first.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Texts { first: texts, count: found } = self.texts(text, max_events)?;
        if found > max_events {
            return Err(IngestError::TooMany { found, allowed: max_events });
        }
        let mut events = Vec::with_capacity(texts.len());
        for (at, text) in texts.into_iter().enumerate() {
            let key = match self {
                Self::CloudEvent | Self::CloudEvents => cloud_event::key(at, text)?,
                Self::Json | Self::Lines | Self::Data(_) => None,
            };
            // A copy, so that an event that waits does not hold the whole body in memory.
            events.push(event(at, Bytes::copy_from_slice(text.as_bytes()), key)?);
        }
        Ok(events)
    }

    /// The JSON texts of the first `most` events, and the number of all.
    fn texts<'a>(&self, body: &'a str, most: usize) -> Result<Texts<'a>, IngestError> {
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
                    if texts.count < most && serde_json::from_str::<IgnoredAny>(line).is_err() {
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
            Self::CloudEvent | Self::Data(_) => {
                let value: &RawValue = serde_json::from_str(body).map_err(invalid)?;
                Ok(Texts { first: vec![value.get()], count: 1 })
            }
            Self::Json => {
                let mut texts = Texts::default();
                for value in serde_json::Deserializer::from_str(body).into_iter::<&RawValue>() {
                    texts.add(value.map_err(invalid)?.get(), most);
                }
                if texts.count == 0 {
                    let empty = "the body is empty; JSON is expected";
                    return Err(IngestError::Invalid(empty.to_owned()));
                }
                Ok(texts)
            }
        }
    }
}

/// The JSON texts of a body's events.
#[derive(Debug, Default)]
struct Texts<'a> {
    /// The texts of the first events, as many as were wanted.
    first: Vec<&'a str>,
    /// The number of all events.
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

/// Reads an array, keeps the texts of its first `most` elements, and counts all.
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
        let format = Format::of(Some(content_type), std::iter::empty());
        let events = format.and_then(|f| f.events(body.as_bytes(), BOUNDS, 7));
        let events = events.map_err(|error| error.to_string())?;
        let text = |event: &NewEvent| {
            assert_eq!(event.enqueued_unix_ms, 7);
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
            // As programs that ship logs write them.
            ("application/json", "{\"a\":1}{\"a\":2}\n3", vec!["{\"a\":1}", "{\"a\":2}", "3"]),
            ("application/json", "\u{feff}1", vec!["1"]),
            ("application/json", "[\"\\ud83d\"]", vec!["\"\\ud83d\""]),
            ("application/x-ndjson", "\"\\ud83d\"\n1e999", vec!["\"\\ud83d\"", "1e999"]),
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
            (
                "application/cloudevents+xml",
                "",
                "the content type is \"application/cloudevents+xml",
            ),
            ("application/json", "{", "the body is not JSON: "),
            ("application/json", " ", "the body is empty"),
            ("application/json", "1 2 3 4", "the body has 4 events, allowed are 3 (http.max"),
            ("application/json", "1 {", "the body is not JSON: "),
            ("application/json", "{} [1", "the body is not JSON: "),
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
