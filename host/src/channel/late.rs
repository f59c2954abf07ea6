//! What reaches a channel's client from outside its connection's task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::{Assigns, Caller, ChannelId, Effect};
use crate::wire::{Payload, Ref, TopicPattern};

/// Something for a channel's client that no result of its own calls brings.
#[derive(Debug)]
pub enum Late {
    /// An answer to an earlier message.
    Reply {
        /// The channel's topic.
        topic: Arc<str>,
        /// Its number: a later join of the topic is not meant.
        channel: ChannelId,
        /// The message's.
        reference: Ref,
        /// `ok`, `error`, or a plugin's own word.
        status: String,
        /// The response.
        payload: Payload,
    },
    /// A push of a task.
    Push {
        /// The channel's topic.
        topic: Arc<str>,
        /// Its number.
        channel: ChannelId,
        /// The event.
        event: String,
        /// What it carries.
        payload: Payload,
    },
    /// A wish for copies of what the channels of some topics remember.
    Sample {
        /// Their patterns.
        topics: Vec<TopicPattern>,
        /// As many as fit in are sent.
        to: mpsc::Sender<(Arc<str>, Assigns)>,
    },
    /// Effects of a call that goes on.
    Flush {
        /// Whose call it is.
        caller: Caller,
        /// To be applied in order.
        effects: Vec<Effect>,
        /// Told once they are.
        applied: oneshot::Sender<()>,
    },
}

impl Late {
    /// What it weighs in an outbox: its payloads in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Reply { payload, .. } | Self::Push { payload, .. } => payload.len(),
            Self::Sample { .. } => 0,
            Self::Flush { effects, .. } => effects.iter().map(Effect::bytes).sum(),
        }
    }
}
