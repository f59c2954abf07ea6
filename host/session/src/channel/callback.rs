//! What a channel asks its plugin to do.

use std::sync::Arc;

use millrace_wire::Payload;
use smol_str::SmolStr;

use super::Broadcast;

/// One call of the plugin's `channel` or `outgoing` interface.
#[derive(Clone, Debug)]
pub enum Callback {
    /// `channel.join`.
    Join {
        /// What the client sent with the join.
        params: Payload,
    },
    /// `channel.handle-in`.
    HandleIn {
        /// The client's event.
        event: SmolStr,
        /// What it carries.
        payload: Payload,
        /// Whether the client gave a ref.
        wants_reply: bool,
    },
    /// `outgoing.handle-out`.
    HandleOut(Arc<Broadcast>),
    /// `channel.handle-info`.
    HandleInfo(Info),
    /// `channel.terminate`.
    Terminate(TerminateReason),
}

impl Callback {
    /// What it carries, in bytes: as much as the item it was made of.
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

/// What `handle-info` is about.
#[derive(Clone, Debug)]
pub enum Info {
    /// A broadcast on a subscribed topic.
    Broadcast(Arc<Broadcast>),
    /// A timer ran out; its name.
    Timer(String),
}

/// Why a channel ends in good order.
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
    /// The word the plugin sees.
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
