//! Requests of other tasks to a connection's task.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use millrace_session::channel::{Assigns, Caller, Deferred, Effect};
use millrace_wire::TopicPattern;

/// A request of another task to a connection's task.
#[derive(Debug)]
pub enum Request {
    /// Send a reply or a push to the client of a channel.
    Deferred(Deferred),
    /// Send who is present on a topic: the outbox has dropped changes of it.
    Presences(Arc<str>),
    /// Send copies of the assigns of the channels whose topics match.
    Sample {
        /// The patterns of the topics.
        topics: Vec<TopicPattern>,
        /// Takes topics and assigns; those for which it has no room are left out.
        to: mpsc::Sender<(Arc<str>, Assigns)>,
    },
    /// Apply the effects that a call has flushed before its end.
    Flush {
        /// The caller of the call.
        caller: Caller,
        /// The effects, in order.
        effects: Vec<Effect>,
        /// Gets a message once the effects are applied.
        applied: oneshot::Sender<()>,
    },
}

impl Request {
    /// The size of the payloads in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Deferred(deferred) => deferred.bytes(),
            Self::Sample { .. } | Self::Presences(_) => 0,
            Self::Flush { effects, .. } => effects.iter().map(Effect::bytes).sum(),
        }
    }
}
