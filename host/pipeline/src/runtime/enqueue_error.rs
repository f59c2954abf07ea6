//! Why nothing of a request was taken.

/// Why none of the events of a request was taken. Places are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// There is no room for all of them now.
    #[error(
        "there is room for {room} of the {found} events now (buffer.size, buffer.max_bytes), and \
         all or none are taken; send all of them again"
    )]
    Full {
        /// Events that would have found room.
        room: usize,
        /// Events of the request.
        found: usize,
    },
    /// A key has as many events waiting as it may.
    #[error(
        "event {at} finds as many of its key waiting as there may be (buffer.max_per_key), and all \
         or none are taken; send all of them again"
    )]
    KeyFull {
        /// The first such event.
        at: usize,
    },
    /// They are more than the buffer ever has room for.
    #[error(
        "the {found} events are more than ever wait, {allowed} (buffer.size); send fewer at a time"
    )]
    TooMany {
        /// Events of the request.
        found: usize,
        /// Those that may wait.
        allowed: usize,
    },
    /// They have more bytes than the buffer ever has room for.
    #[error(
        "the events have {found} bytes, more than are ever in hand, {allowed} (buffer.max_bytes); \
         send fewer at a time"
    )]
    TooLarge {
        /// Of all payloads.
        found: usize,
        /// Those that may be in hand.
        allowed: usize,
    },
    /// There are more of one key than may ever wait.
    #[error(
        "event {at} is one more of its key than may ever wait, {allowed} (buffer.max_per_key); send \
         fewer at a time"
    )]
    TooManyOfKey {
        /// The first such event.
        at: usize,
        /// Those that may wait.
        allowed: usize,
    },
    /// The server stops.
    #[error("the server stops and takes no more events; send them again")]
    Closed,
}

impl EnqueueError {
    /// Whether the same request may be taken later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full { .. } | Self::KeyFull { .. } | Self::Closed => true,
            Self::TooMany { .. } | Self::TooLarge { .. } | Self::TooManyOfKey { .. } => false,
        }
    }
}
