//! A pool of empty vectors, which the connections of a thread use in turns. Few connections have
//! something to do at the same time: without the pool, each would keep its own memory, or allocate
//! and free it with every message.

use std::cell::RefCell;

/// The pool of a thread, for vectors of one type.
pub(super) struct Spares<T>(RefCell<Vec<Vec<T>>>);

/// The most vectors in a pool.
const MOST: usize = 64;
/// The largest capacity of a vector in the pool, in entries.
const MOST_ENTRIES: usize = 1024;

impl<T> Spares<T> {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// Takes an empty vector, with the capacity of an earlier one if there is one.
    pub(super) fn take(&self) -> Vec<T> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Empties a vector and keeps its memory; a vector that is too large, or one too many, is
    /// freed.
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
