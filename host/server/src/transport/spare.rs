//! Empty vectors that the connections of a thread use in turns. Few connections have
//! anything to do at one time, and without it each would keep room for when it has, or
//! get and give back that room with every message.

use std::cell::RefCell;

/// What a thread keeps of one kind.
pub(super) struct Spares<T>(RefCell<Vec<Vec<T>>>);

/// Vectors of one kind: as many as there may be at a time that is not very busy.
const MOST: usize = 64;
/// Entries each may have room for.
const MOST_ENTRIES: usize = 1024;

impl<T> Spares<T> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// An empty vector, with room if there is one.
    pub(super) fn take(&self) -> Vec<T> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Keeps the room of a vector, and drops what is in it.
    pub(super) fn put(&self, mut vector: Vec<T>) {
        vector.clear();
        let mut spares = self.0.borrow_mut();
        if spares.len() < MOST && (1..=MOST_ENTRIES).contains(&vector.capacity()) {
            spares.push(vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_within_bounds() {
        let spares = Spares::new();
        assert_eq!(spares.take().capacity(), 0);
        let mut vector = Vec::with_capacity(8);
        vector.push(1);
        spares.put(vector);
        let vector = spares.take();
        assert!(vector.is_empty() && vector.capacity() >= 8);
        spares.put(Vec::with_capacity(MOST_ENTRIES + 1));
        assert_eq!(spares.take().capacity(), 0, "too large to be kept");
        (0..2 * MOST).for_each(|_| spares.put(Vec::with_capacity(1)));
        let kept = (0..2 * MOST).filter(|_| spares.take().capacity() > 0).count();
        assert_eq!(kept, MOST);
    }
}
