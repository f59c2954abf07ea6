//! Events and consumers by number, the pipeline's time, and the verdicts of workers on events.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use bytes::Bytes;

pub use millrace_session::channel::NewEvent;
use millrace_wire::Payload;

/// The number of an event in hand, which no other event in hand of its pipeline has: the index
/// of its slot, and the generation that says how often the slot was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(NonZeroU64);

impl EventId {
    /// The number of an event that is not in hand yet.
    pub(super) const NONE: Self = Self(NonZeroU64::MAX);

    /// The number of an event in the slot `index`, which is used for the `generation`th time.
    pub(super) fn new(index: u32, generation: NonZeroU32) -> Self {
        let generation = NonZeroU64::from(generation).get() << 32;
        Self(NonZeroU64::MIN.saturating_add(generation - 1) | u64::from(index))
    }

    /// The number of the next event in the same slot.
    pub(super) fn successor(self) -> Self {
        let generation = (self.0.get() >> 32) as u32;
        let next = generation.checked_add(1).and_then(NonZeroU32::new);
        Self::new(self.0.get() as u32, next.unwrap_or(NonZeroU32::MIN))
    }

    /// The index of its slot.
    pub(super) fn index(self) -> usize {
        self.0.get() as u32 as usize
    }

    /// The number as plugins get it.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }

    /// The event that a plugin names; it need not be in hand. `None` for 0.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

/// The number of a consumer in its stage, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerId(pub u32);

impl ConsumerId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A consumer of a pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StageConsumer {
    /// The number of its stage, counted from 0.
    pub(super) stage: usize,
    /// Its number in the stage.
    pub(super) id: ConsumerId,
}

impl StageConsumer {
    pub(super) fn new(stage: usize, id: u32) -> Self {
        Self { stage, id: ConsumerId(id) }
    }
}

/// The time on a pipeline's own clock, in nanoseconds since the pipeline was made. It never goes
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// A worker's verdict on one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verdict {
    /// The event is done. If there is a next stage, it goes there as it is.
    #[default]
    Ok,
    /// The event is done, and the socket that waits for it gets this answer.
    Reply {
        /// The status of the answer: `ok`, `error`, or another word.
        status: String,
        /// The response of the answer.
        payload: Payload,
    },
    /// The event is done, and goes to the next stage with this payload instead of its own.
    Forward(Bytes),
    /// The event is tried again later. After `max_attempts` attempts it fails instead.
    Retry {
        /// The time until then in milliseconds; `None` for the pipeline's backoff.
        after_ms: Option<u64>,
        /// The reason that the dead letters show if it was the last attempt.
        reason: String,
    },
    /// The event is dropped: nobody needs it, and that is no failure.
    Drop {
        /// The reason that the dead letters show if dropped events go there (`keep_dropped`).
        reason: String,
    },
    /// The event is given up, and becomes a dead letter.
    Fail {
        /// The reason that the dead letters show.
        reason: String,
    },
}

/// The reason why an event was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DropReason {
    /// The buffer was full when the event came (`keep = "first"`).
    Newest,
    /// The buffer was full, and the event waited longest (`keep = "last"`).
    Oldest,
    /// The event waited longer than `deadline_ms`.
    Expired,
    /// No consumer of a broadcast selects the event.
    Unselected,
    /// A worker dropped the event.
    Worker,
    /// The server stopped before a worker started on the event.
    Shutdown,
}

impl DropReason {
    /// All reasons, in the order of their values.
    pub const ALL: [Self; 6] =
        [Self::Newest, Self::Oldest, Self::Expired, Self::Unselected, Self::Worker, Self::Shutdown];

    /// The reason as one word, for metrics and dead letters.
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
