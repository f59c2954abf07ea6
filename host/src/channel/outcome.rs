//! What a plugin may answer, checked and in the host's own types.

use bytes::Bytes;

use crate::wire::Payload;

/// A plugin's state for one channel. Cloning shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigns {
    /// The author's number for the shape of the data.
    pub schema: u32,
    /// Opaque to the host.
    pub data: Bytes,
}

/// What a call asks the host to do, and the new assigns if they changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Applied in order, all or none.
    pub effects: Vec<Effect>,
    /// `None` leaves them as they were.
    pub assigns: Option<Assigns>,
}

/// One thing for the host to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Answer the message being handled.
    Reply {
        /// `ok`, `error`, or the plugin's own word.
        status: String,
        /// The response.
        payload: Payload,
    },
    /// A message to this client.
    Push {
        /// Its event.
        event: String,
        /// What it carries.
        payload: Payload,
    },
    /// A message to every subscriber of a topic.
    Broadcast {
        /// `None` is the channel's own.
        topic: Option<String>,
        /// Its event.
        event: String,
        /// What it carries.
        payload: Payload,
        /// Whether this channel is left out.
        from: bool,
    },
    /// Broadcasts on this topic go to `handle-info`.
    Subscribe(String),
    /// They no longer do.
    Unsubscribe(String),
    /// Calls `handle-info` later.
    SendAfter {
        /// In so many milliseconds.
        after_ms: u64,
        /// Its name.
        name: String,
    },
    /// The channel ends.
    Stop,
}

/// An accepted join.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// The response of the join reply; `None` is an empty object.
    pub response: Option<Payload>,
    /// Applied after the join reply.
    pub outcome: Outcome,
}

/// How a call ended that did not trap.
#[derive(Clone, Debug, PartialEq)]
pub enum Completion {
    /// `join` accepted, or refused with a response.
    Join(Result<Joined, Payload>),
    /// Any other callback.
    Handled(Outcome),
}
