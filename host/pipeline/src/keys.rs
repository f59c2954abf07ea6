//! The keys of the events in hand, and the number of events of each.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

use super::event::EventId;

/// The index of a key among those in hand. It is held only while the key has events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyId(u32);

/// The keys of the events in hand. A key is forgotten with its last event.
///
/// Dispatchers know a key by its hash. The hash function has a random seed, which differs from
/// start to start, so that nobody can choose two keys with one hash.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_hash: HashMap<u64, KeyId, BuildHasherDefault<IdentityHasher>>,
    keys: Vec<Key>,
    free: Vec<KeyId>,
    hasher: RandomState,
}

/// One key, and its events.
#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) text: Box<str>,
    pub(super) hash: u64,
    /// The number of its events in hand.
    events: u32,
    /// The number of its events that wait for a consumer.
    pub(super) waiting: u32,
    /// Whether one of its events is on its way, so that others have to wait (`ordered`).
    pub(super) busy: bool,
    /// The first and the last of its events that wait for an earlier one (`ordered`).
    pub(super) blocked: Option<(EventId, EventId)>,
}

/// The hasher of a map whose keys are hashes already.
#[derive(Debug, Default)]
struct IdentityHasher(u64);

impl Hasher for IdentityHasher {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Keys {
    /// The hash of a key; never 0, which stands for an event without a key.
    pub(super) fn hash(&self, text: &str) -> u64 {
        self.hasher.hash_one(text).max(1)
    }

    /// The key in hand with this hash.
    pub(super) fn find(&self, hash: u64) -> Option<&Key> {
        self.by_hash.get(&hash).map(|id| self.get(*id))
    }

    /// Adds an event to a key. `hash` is the hash of the text.
    pub(super) fn hold(&mut self, text: Box<str>, hash: u64) -> KeyId {
        let (keys, free) = (&mut self.keys, &mut self.free);
        let id = *self.by_hash.entry(hash).or_insert_with(|| {
            let key = Key { text, hash, ..Key::default() };
            match free.pop() {
                Some(id) => {
                    if let Some(slot) = keys.get_mut(id.0 as usize) {
                        *slot = key;
                    }
                    id
                }
                None => {
                    keys.push(key);
                    KeyId(u32::try_from(keys.len() - 1).unwrap_or(u32::MAX))
                }
            }
        });
        self.get_mut(id).events += 1;
        id
    }

    /// Takes an event away from a key, which is forgotten with its last event.
    pub(super) fn release(&mut self, id: KeyId) {
        let key = self.get_mut(id);
        key.events -= 1;
        if key.events == 0 {
            let hash = key.hash;
            self.by_hash.remove(&hash);
            self.free.push(id);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "an id is held only while its key is there")]
    pub(super) fn get(&self, id: KeyId) -> &Key {
        &self.keys[id.0 as usize]
    }

    #[expect(clippy::indexing_slicing, reason = "an id is held only while its key is there")]
    pub(super) fn get_mut(&mut self, id: KeyId) -> &mut Key {
        &mut self.keys[id.0 as usize]
    }

    /// The `most` keys with most events, most first, each with the number of its events.
    pub(super) fn top(&self, most: usize) -> Vec<(&str, u32)> {
        let mut top: Vec<(&str, u32)> = Vec::with_capacity(most + 1);
        for key in self.keys.iter().filter(|key| key.events > 0) {
            let at = top.partition_point(|(_, events)| *events >= key.events);
            if at < most {
                top.insert(at, (&key.text, key.events));
                top.truncate(most);
            }
        }
        top
    }

    /// The number of keys that have events.
    pub(super) fn len(&self) -> usize {
        self.by_hash.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_there_while_it_has_events() {
        let mut keys = Keys::default();
        let (ada, bob) = (keys.hash("ada"), keys.hash("bob"));
        let first = keys.hold("ada".into(), ada);
        assert_eq!(keys.hold("ada".into(), ada), first);
        let other = keys.hold("bob".into(), bob);
        assert_eq!(&*keys.get(other).text, "bob");
        keys.release(first);
        assert_eq!(&*keys.find(ada).unwrap().text, "ada");
        keys.release(first);
        assert!(keys.find(ada).is_none());
        assert_eq!(keys.len(), 1);
        assert_eq!(keys.top(3), [("bob", 1)]);
        let again = keys.hold("ada".into(), ada);
        keys.hold("ada".into(), ada);
        assert_eq!(keys.top(3), [("ada", 2), ("bob", 1)]);
        assert_eq!(keys.top(1), [("ada", 2)]);
        assert_eq!(&*keys.get(again).text, "ada");
        assert_eq!(&*keys.get(other).text, "bob");
    }
}
