//! `[pipelines.NAME.timer]`: an event at regular times.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An event that is made again and again.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimerConfig {
    /// The time between two events in milliseconds.
    pub every_ms: u64,
    /// The event's payload, as JSON. Dates and times of TOML become strings.
    #[serde(deserialize_with = "json", default = "nothing")]
    pub payload: Value,
    /// The event's key.
    pub key: Option<String>,
}

/// An empty object: the payload of a timer that has none.
fn nothing() -> Value {
    Value::Object(serde_json::Map::new())
}

/// Reads TOML as JSON.
fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    let value = toml::Value::deserialize(deserializer)?;
    to_json(&value).map_err(D::Error::custom)
}

fn to_json(value: &toml::Value) -> Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Boolean(truth) => Value::from(*truth),
        toml::Value::Datetime(datetime) => Value::from(datetime.to_string()),
        toml::Value::Float(number) if number.is_finite() => Value::from(*number),
        toml::Value::Float(number) => {
            return Err(format!("{number} is no number of JSON; write it as a string"));
        }
        toml::Value::Array(values) => {
            Value::Array(values.iter().map(to_json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(members) => {
            let member = |(name, value): (&String, _)| Ok((name.clone(), to_json(value)?));
            Value::Object(members.iter().map(member).collect::<Result<_, String>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(text: &str) -> Result<String, String> {
        let timer = toml::from_str::<TimerConfig>(&format!("every_ms = 5\n{text}"));
        timer.map(|timer| timer.payload.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_it_carries_is_json() {
        for (text, json) in [
            ("", "{}"),
            ("payload = 1.5", "1.5"),
            ("payload = [-3, true, \"x\"]", r#"[-3,true,"x"]"#),
            ("payload = { since = 2026-01-01 }", r#"{"since":"2026-01-01"}"#),
            ("payload.a.b = 2026-01-01T07:32:00Z", r#"{"a":{"b":"2026-01-01T07:32:00Z"}}"#),
            ("payload = [07:32:00]", r#"["07:32:00"]"#),
        ] {
            assert_eq!(payload(text).unwrap(), json, "{text}");
        }
        for number in ["nan", "-inf"] {
            let error = payload(&format!("payload = [{number}]")).unwrap_err();
            assert!(error.contains("is no number of JSON; write it as a string"), "{error}");
        }
    }
}
