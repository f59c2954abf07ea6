//! Clocks: a monotonic time in eight bytes, and the time since the Unix epoch.

use std::num::NonZeroU64;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Origin;

/// A monotonic time: nanoseconds since the clock was read first, plus one, so that an `Option` of
/// it takes no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Monotonic(NonZeroU64);

/// When a broadcast was made, and for which event.
#[derive(Clone, Debug)]
pub struct Published {
    /// The time of the broadcast.
    pub at: Monotonic,
    /// The event of a pipeline that it was made for, if it was.
    pub origin: Option<Arc<Origin>>,
}

/// The time in milliseconds since the Unix epoch.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Monotonic {
    /// The time now.
    pub fn now() -> Self {
        let nanos = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }

    /// The time from `before` to this; zero if that is later.
    pub fn since(self, before: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(before.0.get()))
    }
}
