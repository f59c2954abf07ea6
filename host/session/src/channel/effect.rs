//! Effects: what a plugin's call asks the host to do, checked and in the host's own types.

use std::sync::Arc;

use millrace_wire::Payload;
use smol_str::SmolStr;

use super::{Broadcast, ChannelId, NewEvent, PresenceChange, SocketRef};

/// One thing that a call asks the host to do. The host checks all effects of a call before it
/// applies them in order; when one is not allowed, the call has failed and none is applied.
///
/// ```
/// use millrace_session::channel::{ChannelEffect, Effect};
/// use millrace_wire::Payload;
///
/// let push = ChannelEffect::Push { event: "tick".to_owned(), payload: Payload::empty() };
/// assert_eq!(Effect::from(push).bytes(), 2); // the payload is `{}`
/// assert_eq!(Effect::from(ChannelEffect::Stop).bytes(), 0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// An effect of a call of a channel, which needs that channel.
    Channel(ChannelEffect),
    /// An effect of any call, which needs no channel.
    Server(ServerEffect),
}

/// An effect that needs the channel whose call asks for it. The session applies it.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelEffect {
    /// Reply to the message that is being handled.
    Reply {
        /// The status of the reply: `ok`, `error`, or the plugin's own word.
        status: SmolStr,
        /// The response of the reply.
        payload: Payload,
    },
    /// Send a message to the channel's client.
    Push {
        /// The event of the message.
        event: String,
        /// The payload of the message.
        payload: Payload,
    },
    /// Send a message to the subscribers of a topic.
    Broadcast {
        /// The topic; `None` is the channel's own.
        topic: Option<String>,
        /// The event of the message.
        event: String,
        /// The payload of the message.
        payload: Payload,
        /// Whether the channel itself is left out.
        exclude_self: bool,
    },
    /// Subscribe to this topic: its broadcasts go to the channel's `handle-info`. A topic that
    /// is subscribed to already, or is the channel's own, changes nothing.
    Subscribe(String),
    /// End the subscription to this topic.
    Unsubscribe(String),
    /// Start a timer, which calls `handle-info` when it has run out.
    SendAfter {
        /// The time until the timer runs out, in milliseconds.
        after_ms: u64,
        /// The timer's name.
        name: String,
    },
    /// Run a task on another instance of the plugin.
    StartTask {
        /// The task's name.
        name: String,
        /// The task's argument.
        payload: Payload,
    },
    /// Change who is present on the channel's topic.
    Presence(PresenceChange),
    /// End the channel, after all effects of the call have been applied.
    Stop,
}

/// An effect that needs no channel. The server applies it.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEffect {
    /// Send a message to the subscribers of a topic.
    Broadcast {
        /// The message.
        broadcast: Arc<Broadcast>,
        /// The channel that does not get it, if one is left out.
        except: Option<ChannelId>,
    },
    /// Reply to an earlier message, of any connection.
    ReplyTo {
        /// The socket ref of the message that is answered.
        socket_ref: Box<SocketRef>,
        /// The status of the reply: `ok`, `error`, or the plugin's own word.
        status: String,
        /// The response of the reply.
        payload: Payload,
    },
    /// Push to the client that sent an earlier message.
    PushTo {
        /// The socket ref of the earlier message.
        socket_ref: Box<SocketRef>,
        /// The event of the push.
        event: String,
        /// The payload of the push.
        payload: Payload,
    },
    /// Hand an event to a pipeline.
    Enqueue {
        /// The pipeline's name.
        pipeline: String,
        /// The event.
        event: NewEvent,
    },
    /// Close every connection of a user id.
    Disconnect(String),
}

impl Effect {
    /// The size of the payload in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Channel(effect) => effect.bytes(),
            Self::Server(effect) => effect.bytes(),
        }
    }
}

impl ChannelEffect {
    /// The size of the payload in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Reply { payload, .. }
            | Self::Push { payload, .. }
            | Self::Broadcast { payload, .. }
            | Self::StartTask { payload, .. } => payload.len(),
            Self::Presence(change) => change.bytes(),
            Self::Subscribe(_) | Self::Unsubscribe(_) | Self::SendAfter { .. } | Self::Stop => 0,
        }
    }
}

impl ServerEffect {
    /// The size of the payload in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Broadcast { broadcast, .. } => broadcast.payload.len(),
            Self::ReplyTo { payload, .. } | Self::PushTo { payload, .. } => payload.len(),
            Self::Enqueue { event, .. } => event.payload.len(),
            Self::Disconnect(_) => 0,
        }
    }
}

impl From<ChannelEffect> for Effect {
    #[inline]
    fn from(effect: ChannelEffect) -> Self {
        Self::Channel(effect)
    }
}

impl From<ServerEffect> for Effect {
    #[inline]
    fn from(effect: ServerEffect) -> Self {
        Self::Server(effect)
    }
}
