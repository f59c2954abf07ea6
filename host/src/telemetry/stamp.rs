//! A point in time, in eight bytes.

use std::num::NonZeroU64;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Nanoseconds since the first one was taken, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp(NonZeroU64);

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Stamp {
    pub(crate) fn now() -> Self {
        let nanos = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// How long after `before` it was taken.
    pub(crate) fn since(self, before: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(before.0.get()))
    }
}
