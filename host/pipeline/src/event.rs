//! Events, from the producer to what became of them.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use bytes::Bytes;

pub use millrace_session::channel::NewEvent;
use millrace_wire::Payload;

/// An event of a pipeline while it is in hand: no other has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(NonZeroU64);

impl EventId {
    /// Of an event that is not in hand yet.
    pub(super) const NONE: Self = Self(NonZeroU64::MAX);

    /// Where it is among those in hand, and how often that place was taken.
    pub(super) fn new(index: u32, generation: NonZeroU32) -> Self {
        let generation = NonZeroU64::from(generation).get() << 32;
        Self(NonZeroU64::MIN.saturating_add(generation - 1) | u64::from(index))
    }

    /// The same place, taken once more.
    pub(super) fn successor(self) -> Self {
        let generation = (self.0.get() >> 32) as u32;
        let next = generation.checked_add(1).and_then(NonZeroU32::new);
        Self::new(self.0.get() as u32, next.unwrap_or(NonZeroU32::MIN))
    }

    /// Where it is among those in hand.
    pub(super) fn index(self) -> usize {
        self.0.get() as u32 as usize
    }

    /// As a number, for dispatchers.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// What a dispatcher named; it need not be in hand.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

/// A consumer of a stage, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u32);

impl ConsumerId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// The time, as a pipeline is told it: nanoseconds of a clock that never goes
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// What a worker says of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verdict {
    /// It is done. A transform that says no more passes the event on as it was.
    #[default]
    Ok,
    /// It is done, and who waits for an answer gets this one.
    Reply {
        /// `ok`, `error`, or a word of the worker's own.
        status: String,
        /// The response.
        payload: Payload,
    },
    /// A transform passes this on in its place.
    Forward(Bytes),
    /// Once more, after so long or else after the pipeline's backoff.
    Retry {
        /// In milliseconds.
        after_ms: Option<u64>,
        /// For the dead letters, if it was the last attempt.
        reason: String,
    },
    /// It is of no use, and that is no failure.
    Drop {
        /// For the dead letters, if they get what is dropped.
        reason: String,
    },
    /// It failed for good.
    Fail {
        /// For the dead letters.
        reason: String,
    },
}

/// Why an event was dropped rather than handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The buffer was full, and it was the newest (`keep = "first"`).
    Newest,
    /// The buffer was full, and it was the oldest (`keep = "last"`).
    Oldest,
    /// It waited longer than `deadline_ms`.
    Expired,
    /// No consumer of a broadcast selects it.
    Unselected,
    /// The worker said so.
    Worker,
    /// The server stopped before it was handled.
    Shutdown,
}

impl DropReason {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Newest, Self::Oldest, Self::Expired, Self::Unselected, Self::Worker, Self::Shutdown];

    /// One word for metrics and dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Oldest => "oldest",
            Self::Expired => "expired",
            Self::Unselected => "unselected",
            Self::Worker => "worker",
            Self::Shutdown => "shutdown",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
