//! Selectors: which events of a broadcast a worker gets, by values in their JSON.

use std::collections::BTreeMap;

use millrace_wire::{Pointer, PointerError};

/// Selects the events of a broadcast that a worker gets: those that have, at each of some places
/// in their JSON, one of some values. It is the `selector` of `GenStage.BroadcastDispatcher` as
/// data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The places, each with the texts of the values that are selected.
    wanted: Vec<(Pointer, Vec<String>)>,
}

impl Selector {
    /// Selects by JSON pointers, each with the values of which an event has to have one there.
    /// Strings are compared by their text, and numbers as they are written: `1.0` is not `1`.
    ///
    /// # Errors
    ///
    /// When one of the pointers is not a JSON pointer.
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Result<Self, PointerError> {
        let parsed = |(pointer, values): (String, _)| Ok((Pointer::parse(&pointer)?, values));
        Ok(Self { wanted: wanted.into_iter().map(parsed).collect::<Result<_, _>>()? })
    }

    /// Whether the event, a JSON text, is selected. A text that is not JSON is not, unless the
    /// selector has no places.
    pub(super) fn selects(&self, event: &str) -> bool {
        self.wanted.iter().all(|(pointer, values)| {
            pointer.text(event).is_some_and(|found| values.iter().any(|v| **v == *found))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_selected_by_all_of_its_places() {
        let wanted = [("/type", vec!["a", "b"]), ("/user/vip", vec!["true"])];
        let wanted =
            wanted.map(|(p, v)| (p.to_owned(), v.into_iter().map(str::to_owned).collect()));
        let selector = Selector::new(wanted.into()).unwrap();
        assert!(selector.selects(r#"{"type": "b", "user": {"vip": true}, "text": "\ud83d"}"#));
        assert!(!selector.selects(r#"{"type": "b", "user": {"vip": false}}"#));
        assert!(!selector.selects(r#"{"type": "b"}"#));
        assert!(!selector.selects("3") && !selector.selects("no JSON"));
        assert!(Selector::new([("type".to_owned(), Vec::new())].into()).is_err());
    }
}
