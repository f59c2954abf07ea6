//! A point in time, in eight bytes.

use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Origin;

/// Nanoseconds since the first one was taken, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(NonZeroU64);

/// Since when a broadcast is on its way.
#[derive(Clone, Debug)]
pub struct Published {
    /// When it was broadcast.
    pub at: Stamp,
    /// The event of a pipeline it is for, if it is for one.
    pub origin: Option<Arc<Origin>>,
}

/// Milliseconds since the Unix epoch.
pub fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Stamp {
    /// This moment.
    pub fn now() -> Self {
        let nanos = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// How long after `before` it was taken.
    pub fn since(self, before: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(before.0.get()))
    }
}
