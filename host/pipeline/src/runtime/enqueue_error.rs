//! Why none of the events of a request was accepted.

/// Why none of the events of a request was accepted. Places of events in the request are counted
/// from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// The buffer has no room for all of the events now.
    #[error(
        "there is room for {room} of the {found} events now (buffer.size, buffer.max_bytes), and \
         all or none are taken; send all of them again"
    )]
    Full {
        /// The number of events that would have found room.
        room: usize,
        /// The number of events of the request.
        found: usize,
    },
    /// As many events of a key wait as are allowed.
    #[error(
        "event {at} finds as many of its key waiting as there may be (buffer.max_per_key), and all \
         or none are taken; send all of them again"
    )]
    KeyFull {
        /// The place of the first event that is too many.
        at: usize,
    },
    /// The events are more than the buffer ever has room for.
    #[error(
        "the {found} events are more than ever wait, {allowed} (buffer.size); send fewer at a time"
    )]
    TooMany {
        /// The number of events of the request.
        found: usize,
        /// The number of events that may wait.
        allowed: usize,
    },
    /// The events have more bytes than the buffer ever has room for.
    #[error(
        "the events have {found} bytes, more than are ever in hand, {allowed} (buffer.max_bytes); \
         send fewer at a time"
    )]
    TooLarge {
        /// The size of all payloads together, in bytes.
        found: usize,
        /// The bytes of payloads that may be in hand.
        allowed: usize,
    },
    /// The request has more events of one key than may ever wait.
    #[error(
        "event {at} is one more of its key than may ever wait, {allowed} (buffer.max_per_key); send \
         fewer at a time"
    )]
    TooManyOfKey {
        /// The place of the first event that is too many.
        at: usize,
        /// The number of events of one key that may wait.
        allowed: usize,
    },
    /// The pipeline accepts no more events, as the server stops.
    #[error("the server stops and takes no more events; send them again")]
    Closed,
}

impl EnqueueError {
    /// Whether the same request can succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Full { .. } | Self::KeyFull { .. } | Self::Closed => true,
            Self::TooMany { .. } | Self::TooLarge { .. } | Self::TooManyOfKey { .. } => false,
        }
    }
}
