//! Functions that look up JSON values and print them.

use serde_json::Value;

/// The value at a path of names; null if there is none.
fn at<'a>(value: &'a Value, path: &[&str]) -> &'a Value {
    path.iter().fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

/// The whole number at a path; 0 if there is none.
pub(super) fn number(value: &Value, path: &[&str]) -> i64 {
    at(value, path).as_i64().unwrap_or_default()
}

/// The number at a path, if there is one.
pub(super) fn decimal(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path).as_f64()
}

/// The value at a path as text: a string as it is, others as JSON, and `-` for null.
pub(super) fn text(value: &Value, path: &[&str]) -> String {
    match at(value, path) {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// The strings of a list at a path, with spaces between them; `-` if there are none.
pub(super) fn texts(value: &Value, path: &[&str]) -> String {
    let all: Vec<_> = list(value, path).iter().filter_map(Value::as_str).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

/// The elements of a list at a path.
pub(super) fn list<'a>(value: &'a Value, path: &[&str]) -> &'a [Value] {
    at(value, path).as_array().map(Vec::as_slice).unwrap_or_default()
}
