//! What plugins and other producers hand to pipelines.

use bytes::Bytes;

use super::SocketRef;

/// What a producer hands over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEvent {
    /// What the worker gets: JSON text by convention.
    pub payload: Bytes,
    /// What it belongs to, a user for example. Without one it is ordered with
    /// nothing.
    pub key: Option<Box<str>>,
    /// The higher the sooner, for dispatchers that care.
    pub priority: u8,
    /// Which workers of a broadcast want it, by bit; `None` for all.
    pub selected: Option<u64>,
    /// Answered with what the worker replies, or with an error.
    pub reply_to: Option<Box<SocketRef>>,
    /// The time at which it was enqueued first, in milliseconds since the Unix epoch, perhaps on
    /// another server.
    pub enqueued_unix_ms: u64,
}
