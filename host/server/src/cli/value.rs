//! Looking into JSON for something to print.

use serde_json::Value;

/// What is at these names.
fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// A whole number, 0 if there is none.
pub(super) fn number(value: &Value, path: &[&str]) -> i64 {
    at(value, path).as_i64().unwrap_or_default()
}

/// A number, if there is one.
pub(super) fn decimal(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path).as_f64()
}

/// A text as it is, and other values as JSON; `-` for nothing.
pub(super) fn text(value: &Value, path: &[&str]) -> String {
    match at(value, path) {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// A list of texts, in one.
pub(super) fn texts(value: &Value, path: &[&str]) -> String {
    let all: Vec<_> = list(value, path).iter().filter_map(Value::as_str).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

/// The elements of a list.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map(Vec::as_slice).unwrap_or_default()
}
