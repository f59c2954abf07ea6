//! The state of a channel, as the author's own type.

use std::cell::OnceCell;
use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

/// The state of a channel. It is read from JSON on first use, and written back only if it was
/// changed. It dereferences to the `T` that it holds.
///
/// The server keeps it as JSON. So a field that is added with `#[serde(default)]` can read what an
/// earlier version of the plugin wrote.
#[derive(Debug)]
pub struct Assigns<T> {
    encoded: Vec<u8>,
    value: OnceCell<T>,
    changed: bool,
}

impl<T: DeserializeOwned + Default> Assigns<T> {
    pub(crate) fn new(encoded: Vec<u8>) -> Self {
        Self { encoded, value: OnceCell::new(), changed: false }
    }

    /// The state at the beginning of a channel: the assigns that `connect` gave the connection, if
    /// they can be read as a `T`. Otherwise it is the default, and the second value is the reason.
    pub(crate) fn joining(encoded: Vec<u8>) -> (Self, Option<serde_json::Error>) {
        if encoded.is_empty() {
            return (Self::new(encoded), None);
        }
        match serde_json::from_slice::<T>(&encoded) {
            Ok(value) => (Self { encoded, value: OnceCell::from(value), changed: false }, None),
            // The assigns of the connection must not be read again with the channel's next message.
            Err(error) => {
                let value = OnceCell::from(T::default());
                (Self { encoded: Vec::new(), value, changed: true }, Some(error))
            }
        }
    }

    /// The value; the default if the channel has never assigned anything.
    fn read(&self) -> &T {
        self.value.get_or_init(|| match self.encoded.as_slice() {
            [] => T::default(),
            encoded => serde_json::from_slice(encoded)
                .unwrap_or_else(|error| panic!("the assigns cannot be read: {error}")),
        })
    }
}

impl<T: Serialize> Assigns<T> {
    /// The new JSON, if the value was changed. A second call returns `None`.
    pub(crate) fn take_changed(&mut self) -> Result<Option<Vec<u8>>> {
        match (std::mem::take(&mut self.changed), self.value.take()) {
            (true, Some(value)) => Ok(Some(serde_json::to_vec(&value)?)),
            _ => Ok(None),
        }
    }
}

impl<T> Assigns<T> {
    /// The JSON that the state was made of.
    pub(crate) fn into_encoded(self) -> Vec<u8> {
        self.encoded
    }
}

impl<T: DeserializeOwned + Default> Deref for Assigns<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.read()
    }
}

impl<T: DeserializeOwned + Default> DerefMut for Assigns<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.read();
        self.changed = true;
        match self.value.get_mut() {
            Some(value) => value,
            None => unreachable!("the line above has read it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_value_is_written_back() {
        let mut assigns = Assigns::<Vec<u8>>::new(b"[1]".to_vec());
        assert_eq!(*assigns, [1]);
        assert_eq!(assigns.take_changed().unwrap(), None);
        let mut assigns = Assigns::<Vec<u8>>::new(Vec::new());
        assigns.push(2);
        assert_eq!(assigns.take_changed().unwrap(), Some(b"[2]".to_vec()));
    }

    #[test]
    fn what_a_connection_has_in_another_shape_is_nothing_to_a_channel() {
        let (mut own, problem) = Assigns::<Vec<u8>>::joining(b"[1]".to_vec());
        assert!(problem.is_none());
        assert_eq!(*own, [1]);
        assert_eq!(own.take_changed().unwrap(), None);
        let (mut own, problem) = Assigns::<Vec<u8>>::joining(br#"{"role":"admin"}"#.to_vec());
        assert!(problem.unwrap().to_string().contains("invalid type"));
        assert!(own.is_empty());
        own.push(3);
        assert_eq!(own.take_changed().unwrap(), Some(b"[3]".to_vec()));
        // The assigns are replaced even if the join does not change them.
        let (mut own, _) = Assigns::<Vec<u8>>::joining(b"7".to_vec());
        assert_eq!(own.take_changed().unwrap(), Some(b"[]".to_vec()));
        let (mut none, problem) = Assigns::<Vec<u8>>::joining(Vec::new());
        assert!(problem.is_none() && none.is_empty());
        assert_eq!(none.take_changed().unwrap(), None);
    }
}
