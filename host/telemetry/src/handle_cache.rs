//! A cache of handles by name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;
use smol_str::SmolStr;

/// The handles of the names seen so far, up to a limit. It is read without a lock, as all names are
/// known soon; a new name copies the map. A fast hash is enough, because the number of names is
/// limited.
#[derive(Debug)]
pub(crate) struct HandleCache<T> {
    known: ArcSwap<Known<T>>,
    adding: Mutex<()>,
    max: usize,
}

type Known<T> = HashMap<SmolStr, T, foldhash::fast::RandomState>;

impl<T: Clone> HandleCache<T> {
    /// An empty cache for at most `max` names.
    pub(crate) fn new(max: usize) -> Self {
        Self { known: ArcSwap::default(), adding: Mutex::default(), max }
    }

    /// Calls `f` with the handle of a name; `None` for a name that is not known.
    pub(crate) fn known<R>(&self, name: &str, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.known.load().get(name).map(f)
    }

    /// The same, but for a new name `make` makes the handle. `None` when there are `max` names
    /// already, or when `make` returns `None`.
    pub(crate) fn with<R>(
        &self,
        name: &str,
        make: impl FnOnce() -> Option<T>,
        f: impl FnOnce(&T) -> R,
    ) -> Option<R> {
        if let Some(known) = self.known.load().get(name) {
            return Some(f(known));
        }
        self.add(name, make)?;
        self.known.load().get(name).map(f)
    }

    fn add(&self, name: &str, make: impl FnOnce() -> Option<T>) -> Option<()> {
        if self.known.load().len() >= self.max {
            return None;
        }
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.known.load_full();
        if before.contains_key(name) {
            return Some(());
        }
        if before.len() >= self.max {
            return None;
        }
        let made = make()?;
        let mut after = Known::clone(&before);
        after.insert(SmolStr::new(name), made);
        self.known.store(after.into());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_once_and_no_more_than_that() {
        let memo = HandleCache::new(2);
        assert_eq!(memo.with("a", || Some(1), |n| *n), Some(1));
        assert_eq!(memo.with("a", || Some(2), |n| *n), Some(1));
        assert_eq!(memo.with("b", || None, |n: &i32| *n), None);
        assert_eq!(memo.with("b", || Some(3), |n| *n), Some(3));
        assert_eq!(memo.with("c", || Some(4), |n| *n), None);
        assert_eq!(memo.with("b", || Some(5), |n| *n), Some(3));
        assert_eq!((memo.known("b", |n| *n), memo.known("c", |n| *n)), (Some(3), None));
    }
}
