//! What others ask a connection's task to do for its channels.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use millrace_session::channel::{Assigns, Caller, Deferred, Effect};
use millrace_wire::TopicPattern;

/// Something that another task asks of a connection's task.
#[derive(Debug)]
pub enum Request {
    /// Send an answer or a push to a channel's client.
    Deferred(Deferred),
    /// Send copies of the assigns of the channels whose topics match.
    Sample {
        /// Their patterns.
        topics: Vec<TopicPattern>,
        /// Takes topic and assigns; those that find no room are left out.
        to: mpsc::Sender<(Arc<str>, Assigns)>,
    },
    /// Apply effects of a call that goes on.
    Flush {
        /// Whose call it is.
        caller: Caller,
        /// The effects, in order.
        effects: Vec<Effect>,
        /// Told once they are applied.
        applied: oneshot::Sender<()>,
    },
}

impl Request {
    /// The size of its payloads in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Deferred(deferred) => deferred.bytes(),
            Self::Sample { .. } => 0,
            Self::Flush { effects, .. } => effects.iter().map(Effect::bytes).sum(),
        }
    }
}
