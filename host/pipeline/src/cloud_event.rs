//! CloudEvents over HTTP: in structured mode, where an event is a JSON object, and in binary
//! mode, where its attributes are headers and the body is its data.
//!
//! A worker gets the JSON object in both modes. Sources: the HTTP Protocol Binding and the JSON
//! Event Format of the CloudEvents specification, version 1.0.2.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::ingest::IngestError;

/// The attributes of an event in binary mode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// The values of the attributes by name: the header's name without `ce-`.
    named: BTreeMap<String, String>,
    /// The media type of the data (`datacontenttype`).
    content_type: Option<String>,
}

/// The beginning of the name of each header that is an attribute (HTTP Protocol Binding, 3.1.3).
const PREFIX: &str = "ce-";
/// The attributes that each event must have (CloudEvents, "Required Attributes").
const REQUIRED: [&str; 4] = ["id", "source", "specversion", "type"];
/// The attribute with the event's key (CloudEvents, the Partitioning extension).
const KEY: &str = "partitionkey";

/// The required attributes of an event in structured mode, and its key.
#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    specversion: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    source: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    partitionkey: Option<Box<str>>,
}

/// Checks an event in structured mode and returns its key. `at` is its place in the request,
/// counted from 0, for the error.
///
/// # Errors
///
/// When it is not JSON, a required attribute is missing or empty, or the version is not 1.
pub(super) fn key(at: usize, text: &str) -> Result<Option<Box<str>>, IngestError> {
    let invalid =
        |problem: &str| IngestError::Invalid(format!("event {at} is no CloudEvent: {problem}"));
    let event: Structured<'_> =
        serde_json::from_str(text).map_err(|error| invalid(&error.to_string()))?;
    let Structured { specversion, id, source, kind, partitionkey } = event;
    check_version(&specversion).map_err(|problem| invalid(&problem))?;
    for (name, value) in [("id", id), ("source", source), ("type", kind)] {
        if value.is_empty() {
            return Err(invalid(&format!("`{name}` is empty")));
        }
    }
    Ok(partitionkey)
}

fn check_version(found: &str) -> Result<(), String> {
    match found.starts_with("1.") {
        true => Ok(()),
        false => Err(format!("specversion is {found:?}; 1.0 is expected")),
    }
}

impl Attributes {
    /// Reads the attributes from the headers of a request; `None` when no header is one.
    ///
    /// # Errors
    ///
    /// When a required attribute is missing or empty, the version is not 1, an attribute is there
    /// twice, a name has other characters than lower-case letters and digits, or a value is not
    /// UTF-8.
    pub(super) fn read<'a>(
        content_type: Option<&str>,
        headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Option<Self>, IngestError> {
        let mut attributes = Self::default();
        for (header, value) in headers {
            let Some(name) = header.strip_prefix(PREFIX) else { continue };
            let value = read_value(value).ok_or_else(|| {
                invalid(&format!("the header {header} is not UTF-8 behind its percent-encoding"))
            })?;
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            if name.is_empty() || !name.chars().all(is_plain) || name == "data" {
                return Err(invalid(&format!(
                    "the header {header} is no attribute; their names have lower-case letters and \
                     digits"
                )));
            }
            if attributes.named.insert(name.to_owned(), value).is_some() {
                return Err(invalid(&format!("there are two headers {header}; one is expected")));
            }
        }
        if attributes.named.is_empty() {
            return Ok(None);
        }
        for name in REQUIRED {
            if attributes.named.get(name).is_none_or(String::is_empty) {
                return Err(invalid(&format!(
                    "the header {PREFIX}{name} is missing or empty; {PREFIX}id, {PREFIX}source, \
                     {PREFIX}specversion and {PREFIX}type are expected"
                )));
            }
        }
        let version = attributes.named.get("specversion").map_or("", String::as_str);
        check_version(version).map_err(|problem| invalid(&problem))?;
        // In binary mode the `content-type` header is the data's media type.
        let named = attributes.named.remove("datacontenttype");
        attributes.content_type = content_type.map(str::to_owned).or(named);
        Ok(Some(attributes))
    }

    /// The event's key (`partitionkey`).
    pub(super) fn key(&self) -> Option<Box<str>> {
        self.named.get(KEY).map(|key| key.as_str().into())
    }

    /// The event as a JSON object with the body as its data: as JSON if the media type is a JSON
    /// type, as a string if it is a text or XML type, else as base64 in `data_base64`. Without a
    /// media type the data is JSON if it can be read as such.
    ///
    /// # Errors
    ///
    /// When the media type is a JSON type and the body is not JSON.
    pub(super) fn with_data(&self, body: &[u8]) -> Result<String, IngestError> {
        let mut event = json!(self.named).to_string();
        event.pop();
        if let Some(content_type) = &self.content_type {
            event += &format!(",\"datacontenttype\":{}", json!(content_type));
        }
        if !body.is_empty() {
            event += &self.data(body)?;
        }
        event.push('}');
        Ok(event)
    }

    fn data(&self, body: &[u8]) -> Result<String, IngestError> {
        let text = std::str::from_utf8(body).ok();
        let is_json = |text: &&str| serde_json::from_str::<IgnoredAny>(text).is_ok();
        let json = text.filter(is_json).map(|json| format!(",\"data\":{}", json.trim()));
        let bytes = || format!(",\"data_base64\":\"{}\"", STANDARD.encode(body));
        let Some(content_type) = &self.content_type else { return Ok(json.unwrap_or_else(bytes)) };
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let essence = essence.to_ascii_lowercase();
        if essence.ends_with("/json") || essence.ends_with("+json") {
            return json.ok_or_else(|| {
                invalid(&format!("its content type is {content_type:?}, and the body is not JSON"))
            });
        }
        let is_text = essence.starts_with("text/") || essence.ends_with("xml");
        let text = text.filter(|_| is_text).map(|text| format!(",\"data\":{}", json!(text)));
        Ok(text.unwrap_or_else(bytes))
    }
}

fn invalid(problem: &str) -> IngestError {
    IngestError::Invalid(format!("the request is no CloudEvent in binary mode: {problem}"))
}

/// Decodes the value of a header: it may be in quotes, and characters outside printable ASCII are
/// percent-encoded (HTTP Protocol Binding, 3.1.3.2). Some programs do not encode them; their bytes
/// are read as UTF-8, or else as Latin-1, as Node.js sends them. `None` when the decoded value is
/// not UTF-8.
fn read_value(value: &[u8]) -> Option<String> {
    let latin = || Cow::Owned(value.iter().copied().map(char::from).collect());
    let text: Cow<'_, str> = std::str::from_utf8(value).map_or_else(|_| latin(), Cow::Borrowed);
    let text = text.trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let text = quoted.map_or_else(|| text.to_owned(), unescape);
    percent_decode_str(&text).decode_utf8().ok().map(Cow::into_owned)
}

/// Removes the backslashes of a quoted string.
fn unescape(quoted: &str) -> String {
    let mut characters = quoted.chars();
    let mut text = String::with_capacity(quoted.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const HEADERS: [(&str, &str); 4] =
        [("ce-id", "1"), ("ce-source", "/s"), ("ce-specversion", "1.0"), ("ce-type", "t")];

    fn read(
        content_type: Option<&str>,
        more: &[(&str, &str)],
    ) -> Result<Option<Attributes>, String> {
        let headers = HEADERS.iter().chain(more).map(|(name, value)| (*name, value.as_bytes()));
        Attributes::read(content_type, headers).map_err(|error| error.to_string())
    }

    fn event(content_type: Option<&str>, body: &[u8], more: &[(&str, &str)]) -> Value {
        let attributes = read(content_type, more).unwrap().unwrap();
        serde_json::from_str(&attributes.with_data(body).unwrap()).unwrap()
    }

    #[test]
    fn data_is_json_text_or_bytes() {
        for (content_type, body, data) in [
            (Some("application/json"), &b" {\"a\":[1]} "[..], json!({ "data": { "a": [1] } })),
            (Some("application/geo+json; charset=utf-8"), b"[1]", json!({ "data": [1] })),
            (Some("text/plain"), b"\"hi\"", json!({ "data": "\"hi\"" })),
            (Some("application/xml"), b"<a/>", json!({ "data": "<a/>" })),
            (Some("text/plain"), b"\xff", json!({ "data_base64": "/w==" })),
            (Some("image/png"), b"\x89P", json!({ "data_base64": "iVA=" })),
            (None, b"3", json!({ "data": 3 })),
            (None, b"hi", json!({ "data_base64": "aGk=" })),
            (Some("application/json"), b"", json!({})),
        ] {
            let mut expected =
                json!({ "id": "1", "source": "/s", "specversion": "1.0", "type": "t" });
            let all = expected.as_object_mut().unwrap();
            all.extend(data.as_object().unwrap().clone());
            if let Some(content_type) = content_type {
                all.insert("datacontenttype".to_owned(), json!(content_type));
            }
            assert_eq!(event(content_type, body, &[]), expected);
        }
        let attributes = read(Some("application/json"), &[]).unwrap().unwrap();
        let error = attributes.with_data(b"{").unwrap_err().to_string();
        assert!(error.contains("the body is not JSON"), "{error}");
    }

    #[test]
    fn attributes_are_decoded_once() {
        let more = [
            ("ce-subject", "Euro%20%E2%82%AC%2520"),
            ("ce-quoted", r#""a \"b\" \\ %41""#),
            ("ce-partitionkey", "ada"),
            ("ce-time", "2026-01-01T00:00:00Z"),
            ("host", "example.com"),
        ];
        let event = event(None, b"", &more);
        assert_eq!(event["subject"], "Euro €%20");
        assert_eq!(event["quoted"], r#"a "b" \ A"#);
        assert_eq!(event["time"], "2026-01-01T00:00:00Z");
        assert_eq!(event.get("host"), None);
        let attributes = read(None, &more).unwrap().unwrap();
        assert_eq!(attributes.key().as_deref(), Some("ada"));
        for raw in ["größer 50%".as_bytes(), b"gr\xf6\xdfer 50%"] {
            assert_eq!(read_value(raw).as_deref(), Some("größer 50%"));
        }
    }

    #[test]
    fn what_is_no_event_is_named() {
        let none = Attributes::read(None, [("host", &b"x"[..])].into_iter());
        assert_eq!(none, Ok(None));
        for (headers, problem) in [
            (&[("ce-id", "1")][..], "ce-source is missing or empty; ce-id, ce-source"),
            (&[("ce-id", "1"), ("ce-id", "2")], "two headers ce-id"),
            (&[("ce-my_key", "1")], "ce-my_key is no attribute"),
            (&[("ce-data", "1")], "ce-data is no attribute"),
            (&[("ce-id", "%ff")], "ce-id is not UTF-8"),
        ] {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            let error = Attributes::read(None, headers).unwrap_err().to_string();
            assert!(error.contains(problem), "{error}");
        }
        let old = HEADERS.map(|(name, value)| match name {
            "ce-specversion" => (name, &b"0.3"[..]),
            _ => (name, value.as_bytes()),
        });
        let error = Attributes::read(None, old.into_iter()).unwrap_err().to_string();
        assert!(error.contains("specversion is \"0.3\"; 1.0 is expected"), "{error}");
    }

    #[test]
    fn a_structured_event_has_its_attributes() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","x":"\ud83d"}"#;
        assert_eq!(key(0, event), Ok(None));
        let error = key(3, &event.replace("\"t\"", "\"\"")).unwrap_err().to_string();
        assert!(error.contains("event 3 is no CloudEvent: `type` is empty"), "{error}");
    }
}
