//! Events that plugins and other producers hand to pipelines.

use bytes::Bytes;

use super::SocketRef;

/// An event as its producer hands it to a pipeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewEvent {
    /// The payload that the worker gets: JSON text by convention.
    pub payload: Bytes,
    /// The key of the event, a user for example. Pipelines that are `ordered` keep the events of
    /// one key in order; an event without a key has no order with others.
    pub key: Option<Box<str>>,
    /// The priority, for dispatchers that look at it: a higher one goes first.
    pub priority: u8,
    /// The consumers of a broadcast dispatcher that want the event, one bit each; `None` for
    /// all of them.
    pub selected: Option<u64>,
    /// The message that is answered with the worker's reply, or with an error.
    pub reply_to: Option<Box<SocketRef>>,
    /// The time at which the event was first enqueued, perhaps on another server, in
    /// milliseconds since the Unix epoch.
    pub enqueued_unix_ms: u64,
}
