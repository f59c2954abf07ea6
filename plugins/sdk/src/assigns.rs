//! The state of a channel, as the author's own type.

use std::cell::OnceCell;
use std::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Result;

/// The state of a channel: read when first looked at, written back only when
/// changed. Looks like the `T` it holds.
///
/// It is kept by the server as JSON, so a field added with `#[serde(default)]`
/// reads what an earlier version of the plugin left.
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

    /// The value; a channel that never assigned anything has the default.
    fn read(&self) -> &T {
        self.value.get_or_init(|| match self.encoded.as_slice() {
            [] => T::default(),
            encoded => serde_json::from_slice(encoded)
                .unwrap_or_else(|error| panic!("the assigns cannot be read: {error}")),
        })
    }
}

impl<T: Serialize> Assigns<T> {
    /// The new bytes, if there are any; not a second time.
    pub(crate) fn take_changed(&mut self) -> Result<Option<Vec<u8>>> {
        match (std::mem::take(&mut self.changed), self.value.take()) {
            (true, Some(value)) => Ok(Some(serde_json::to_vec(&value)?)),
            _ => Ok(None),
        }
    }
}

impl<T> Assigns<T> {
    /// What it was made of.
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
}
