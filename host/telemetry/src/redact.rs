//! Data of users in a form that may be logged.

use std::fmt;

use serde_json::Value;

use millrace_wire::Payload;

/// A payload for a log line. The value of each key that looks like a secret's is `[FILTERED]`, as
/// in Phoenix, and the text is cut after [`MAX_BYTES`].
#[derive(Clone, Copy, Debug)]
pub struct Redacted<'a>(pub &'a Payload);

/// The parameters of a URL for a log line, with secrets as in [`Redacted`].
#[derive(Clone, Copy, Debug)]
pub struct RedactedPairs<'a> {
    /// The parameters.
    pub pairs: &'a [(String, String)],
    /// The name of a further one whose value is a secret.
    pub secret: Option<&'a str>,
}

/// A name that contains one of these words, in any case, is a secret's.
const SECRETS: [&str; 3] = ["password", "token", "secret"];

/// The text that replaces a secret.
const FILTERED: &str = "[FILTERED]";

/// The limit of a payload in bytes; the rest is cut.
const MAX_BYTES: usize = 1024;

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if is_secret(name) { *value = FILTERED.into() } else { redact(value) }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            Payload::Json(text) => text,
            Payload::Binary(bytes) => return write!(f, "<{} bytes>", bytes.len()),
        };
        // The JSON is nested deeper than serde_json reads, or has numbers it has no room for.
        let Ok(mut value) = serde_json::from_str::<Value>(text) else {
            return write!(f, "<{} bytes of JSON>", text.len());
        };
        redact(&mut value);
        let text = value.to_string();
        let mut end = text.len().min(MAX_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        f.write_str(text.get(..end).unwrap_or_default())?;
        if end < text.len() { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Display for RedactedPairs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(String, String)| {
            let is_secret = is_secret(name) || self.secret == Some(name);
            let value = if is_secret { FILTERED.to_owned() } else { value.clone() };
            (name.clone(), Value::from(value))
        };
        write!(f, "{}", Value::Object(self.pairs.iter().map(shown).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &'static str) -> String {
        Redacted(&Payload::Json(json.into())).to_string()
    }

    #[test]
    fn secrets_do_not_get_into_logs() {
        for (json, expected) in [
            (r#"{"password":"x","a":1}"#, r#"{"a":1,"password":"[FILTERED]"}"#),
            (r#"{"a":[{"apiToken":{"b":2}}]}"#, r#"{"a":[{"apiToken":"[FILTERED]"}]}"#),
            (r#"{"CLIENT_SECRET":3}"#, r#"{"CLIENT_SECRET":"[FILTERED]"}"#),
            (r#""password""#, r#""password""#),
            ("null", "null"),
        ] {
            assert_eq!(shown(json), expected);
        }
        let pairs = [("user_token", "x"), ("vsn", "2.0.0"), ("jwt", "x")];
        let pairs = pairs.map(|(a, b)| (a.into(), b.into()));
        let shown = RedactedPairs { pairs: &pairs, secret: Some("jwt") }.to_string();
        assert_eq!(shown, r#"{"jwt":"[FILTERED]","user_token":"[FILTERED]","vsn":"2.0.0"}"#);
    }

    #[test]
    fn long_ones_are_cut() {
        let payload = Payload::Json(format!("\"{}\"", "é".repeat(2_000)).into());
        let text = Redacted(&payload).to_string();
        assert!(text.len() <= MAX_BYTES + "…".len() && text.ends_with('…'), "{text}");
        assert_eq!(Redacted(&Payload::Binary(vec![0; 9].into())).to_string(), "<9 bytes>");
    }
}
