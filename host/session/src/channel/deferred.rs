//! Replies, pushes and changes of presence that reach a channel later, and not by the result of a
//! call of the channel.

use std::sync::Arc;

use millrace_wire::{Payload, Ref};

use super::{ChannelId, PresenceChange};

/// A reply, a push or a change for a channel that comes from outside the connection's task. It is
/// dropped and counted when the channel has gone.
#[derive(Debug)]
pub enum Deferred {
    /// A reply to an earlier message.
    Reply {
        /// The channel's topic.
        topic: Arc<str>,
        /// The channel's number: a later join of the topic is not meant.
        channel: ChannelId,
        /// The ref of the message that is answered.
        reference: Ref,
        /// The status of the reply: `ok`, `error`, or a plugin's own word.
        status: String,
        /// The response of the reply.
        payload: Payload,
    },
    /// A push of a task, or of whoever has a socket ref of the channel.
    Push {
        /// The channel's topic.
        topic: Arc<str>,
        /// The channel's number: a later join of the topic is not meant.
        channel: ChannelId,
        /// The event of the push.
        event: String,
        /// The payload of the push.
        payload: Payload,
    },
    /// A change of a task, of who is present on the channel's topic.
    Presence {
        /// The channel's topic.
        topic: Arc<str>,
        /// The channel's number: a later join of the topic is not meant.
        channel: ChannelId,
        /// The change.
        change: PresenceChange,
    },
}

impl Deferred {
    /// The size of the payload in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Reply { payload, .. } | Self::Push { payload, .. } => payload.len(),
            Self::Presence { change, .. } => change.bytes(),
        }
    }
}
