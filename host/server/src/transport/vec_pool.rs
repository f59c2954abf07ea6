//! A pool of empty vectors, which the connections of a thread use in turns. Few connections have
//! something to do at the same time: without the pool, each would keep its own memory, or allocate
//! and free it with every message.

use std::cell::RefCell;

/// The pool of a thread, for vectors of one type.
pub(super) struct VecPool<T>(RefCell<Vec<Vec<T>>>);

/// The most vectors in a pool.
const MAX_VECTORS: usize = 64;
/// The largest capacity of a vector in the pool, in entries.
const MAX_CAPACITY: usize = 1024;

impl<T> VecPool<T> {
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
        let mut pool = self.0.borrow_mut();
        if pool.len() < MAX_VECTORS && (1..=MAX_CAPACITY).contains(&vector.capacity()) {
            pool.push(vector);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_used_again_within_bounds() {
        let pool = VecPool::new();
        assert_eq!(pool.take().capacity(), 0);
        let mut vector = Vec::with_capacity(8);
        vector.push(1);
        pool.put(vector);
        let vector = pool.take();
        assert!(vector.is_empty() && vector.capacity() >= 8);
        pool.put(Vec::with_capacity(MAX_CAPACITY + 1));
        assert_eq!(pool.take().capacity(), 0, "too large to be kept");
        (0..2 * MAX_VECTORS).for_each(|_| pool.put(Vec::with_capacity(1)));
        let kept = (0..2 * MAX_VECTORS).filter(|_| pool.take().capacity() > 0).count();
        assert_eq!(kept, MAX_VECTORS);
    }
}
