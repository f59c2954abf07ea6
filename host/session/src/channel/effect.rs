//! What a plugin asks the host to do, checked and in the host's own types.

use smol_str::SmolStr;

use super::{Broadcast, ChannelId, NewEvent, SocketRef};
use millrace_wire::Payload;
use std::sync::Arc;

/// One thing for the host to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Something that is done for a channel.
    Channel(ChannelEffect),
    /// Something that anybody may ask the server for.
    Server(ServerEffect),
}

/// An effect that needs the channel whose call asks for it. The session applies it.
#[derive(Clone, Debug, PartialEq)]
pub enum ChannelEffect {
    /// Answer the message being handled.
    Reply {
        /// `ok`, `error`, or the plugin's own word.
        status: SmolStr,
        /// The response.
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
    /// Take the broadcasts of this topic to `handle-info`.
    Subscribe(String),
    /// Take them there no longer.
    Unsubscribe(String),
    /// Call `handle-info` later.
    SendAfter {
        /// The time until then in milliseconds.
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
    /// End the channel.
    Stop,
}

/// An effect that needs no channel. The server applies it.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEffect {
    /// Send a message to the subscribers of a topic.
    Broadcast {
        /// The message.
        broadcast: Arc<Broadcast>,
        /// The channel that is left out.
        except: Option<ChannelId>,
    },
    /// Answer an earlier message, of any connection.
    ReplyTo {
        /// The message that is answered.
        socket_ref: Box<SocketRef>,
        /// `ok`, `error`, or the plugin's own word.
        status: String,
        /// The response.
        payload: Payload,
    },
    /// Send a message to the client of an earlier message.
    PushTo {
        /// The earlier message.
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
    fn from(effect: ChannelEffect) -> Self {
        Self::Channel(effect)
    }
}

impl From<ServerEffect> for Effect {
    fn from(effect: ServerEffect) -> Self {
        Self::Server(effect)
    }
}
