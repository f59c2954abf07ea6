//! Looking into the JSON of events, for who wants them.

use std::collections::BTreeMap;

use millrace_wire::{Pointer, PointerError};

/// Which events of a broadcast a worker gets: those whose JSON has one of some
/// values at each of some places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// What is wanted at each place, as text.
    wanted: Vec<(Pointer, Vec<String>)>,
}

impl Selector {
    /// Asks for one of the values at each of the JSON pointers; an error when one of them is
    /// none. A number is compared as it is written.
    pub fn new(wanted: BTreeMap<String, Vec<String>>) -> Result<Self, PointerError> {
        let parsed = |(pointer, values): (String, _)| Ok((Pointer::parse(&pointer)?, values));
        Ok(Self { wanted: wanted.into_iter().map(parsed).collect::<Result<_, _>>()? })
    }

    /// Whether it wants an event.
    pub fn selects(&self, event: &str) -> bool {
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
