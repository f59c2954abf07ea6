//! Answers and pushes that no result of a channel's own calls brings.

use std::sync::Arc;

use millrace_wire::{Payload, Ref};

use super::ChannelId;

/// An answer or a push for a channel's client from outside its connection's task.
#[derive(Debug)]
pub enum Deferred {
    /// An answer to an earlier message.
    Reply {
        /// The channel's topic.
        topic: Arc<str>,
        /// The channel's number: a later join of the topic is not meant.
        channel: ChannelId,
        /// The ref of the message that is answered.
        reference: Ref,
        /// `ok`, `error`, or a plugin's own word.
        status: String,
        /// The response.
        payload: Payload,
    },
    /// A push of a task, or by a socket ref.
    Push {
        /// The channel's topic.
        topic: Arc<str>,
        /// The channel's number: a later join of the topic is not meant.
        channel: ChannelId,
        /// The event.
        event: String,
        /// The payload of the push.
        payload: Payload,
    },
}

impl Deferred {
    /// The size of the payload in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Reply { payload, .. } | Self::Push { payload, .. } => payload.len(),
        }
    }
}
