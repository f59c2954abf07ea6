//! Looking into the JSON of events, for their keys and for who wants them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Which events of a broadcast a worker gets: those whose JSON has one of some
/// values at each of some places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// JSON pointers, each with what is wanted there, as text.
    wanted: BTreeMap<String, Vec<String>>,
}

/// A text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no JSON pointer; one such as \"/user\" or \"/user/id\" is expected")]
pub struct PointerError(String);

/// Checks a JSON pointer (RFC 6901) other than the empty one.
pub fn check_pointer(pointer: &str) -> Result<(), PointerError> {
    if pointer.starts_with('/') { Ok(()) } else { Err(PointerError(pointer.to_owned())) }
}

impl Selector {
    /// Wants one of `values` at each of the pointers.
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Result<Self, PointerError> {
        wanted.keys().try_for_each(|pointer| check_pointer(pointer))?;
        Ok(Self { wanted })
    }

    /// Whether it wants an event.
    pub(crate) fn selects(&self, event: &Value) -> bool {
        self.wanted.iter().all(|(pointer, values)| {
            text_at(event, pointer).is_some_and(|found| values.iter().any(|v| **v == *found))
        })
    }
}

/// The text, number or truth at a place, as text.
pub(super) fn text_at(event: &Value, pointer: &str) -> Option<Box<str>> {
    match event.pointer(pointer)? {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) => Some(number.to_string().into()),
        Value::Bool(truth) => Some(truth.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_selected_by_all_of_its_places() {
        let wanted = [("/type", vec!["a", "b"]), ("/user/vip", vec!["true"])];
        let wanted =
            wanted.map(|(p, v)| (p.to_owned(), v.into_iter().map(str::to_owned).collect()));
        let selector = Selector::new(wanted.into()).unwrap();
        assert!(selector.selects(&json!({"type": "b", "user": {"vip": true}})));
        assert!(!selector.selects(&json!({"type": "b", "user": {"vip": false}})));
        assert!(!selector.selects(&json!({"type": "b"})));
        assert!(!selector.selects(&json!(3)));
        assert!(Selector::new([("type".to_owned(), Vec::new())].into()).is_err());
    }
}
