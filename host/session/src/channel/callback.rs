//! The callbacks of a plugin that a channel calls.

use std::sync::Arc;

use millrace_wire::Payload;
use smol_str::SmolStr;

use super::Broadcast;

/// A function of the plugin's interface `channel` or `outgoing`, with its arguments.
#[derive(Clone, Debug)]
pub enum Callback {
    /// `channel.join`: the client joins the topic.
    Join {
        /// The payload of the join.
        params: Payload,
    },
    /// `channel.handle-in`: a message of the client.
    HandleIn {
        /// The event of the message.
        event: SmolStr,
        /// The payload of the message.
        payload: Payload,
        /// Whether the message has a ref, without which a reply cannot be sent.
        wants_reply: bool,
    },
    /// `outgoing.handle-out`: an intercepted broadcast on the channel's own topic.
    HandleOut(Arc<Broadcast>),
    /// `channel.handle-info`: a broadcast on another topic, or a timer.
    HandleInfo(Info),
    /// `channel.terminate`: the end of the channel. A channel that trapped, or was joined
    /// again, ends without it.
    Terminate(TerminateReason),
}

impl Callback {
    /// The size of the arguments in bytes, which is that of the mailbox item that the call was
    /// made of.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Join { params } => params.len(),
            Self::HandleIn { event, payload, .. } => event.len() + payload.len(),
            Self::HandleOut(broadcast) | Self::HandleInfo(Info::Broadcast(broadcast)) => {
                broadcast.payload.len()
            }
            Self::HandleInfo(Info::Timer(name)) => name.len(),
            Self::Terminate(_) => 0,
        }
    }
}

/// The argument of `channel.handle-info`.
#[derive(Clone, Debug)]
pub enum Info {
    /// A broadcast on a subscribed topic.
    Broadcast(Arc<Broadcast>),
    /// The name of a timer that ran out.
    Timer(String),
}

/// The reason of the end of a channel that did not trap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminateReason {
    /// The client sent `phx_leave`.
    Left,
    /// The connection ended.
    Closed,
    /// The plugin asked for it.
    Stopped,
    /// The server is stopping.
    Drained,
}

impl TerminateReason {
    /// The word that the plugin's `terminate` gets.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Stopped => "stopped",
            Self::Drained => "drained",
        }
    }
}
