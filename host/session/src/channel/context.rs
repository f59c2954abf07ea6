//! The context of a channel: its numbers, its topic and its refs.

use std::sync::Arc;

use millrace_wire::{Payload, Ref};

use super::{Broadcast, ServerEffect};

/// The number of one join, unique since the server started. A topic that is joined again
/// has another number.
pub type ChannelId = u64;

/// The facts about a channel that stay the same for as long as it lives. Calls in flight
/// share it, so that their broadcasts and pushes can be sent even when the channel has gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Context {
    /// The connection's number, unique since the server started.
    pub connection: u64,
    /// The channel's number.
    pub channel: ChannelId,
    /// The joined topic.
    pub topic: Arc<str>,
    /// The join ref of the channel's pushes and replies: the join ref of the join message, or
    /// its ref when it had none, as `lib/phoenix/channel/server.ex` has it.
    pub join_ref: Option<Ref>,
    /// The join ref of the join message as the client sent it, which `phx_close` and
    /// `phx_error` carry.
    pub sent_join_ref: Option<Ref>,
    /// The ref of the join message. Some clients use it as the join ref of their later
    /// messages.
    pub join_message_ref: Option<Ref>,
    /// The user's id, if a plugin's `connect` gave one.
    pub user_id: Option<Arc<str>>,
}

impl Context {
    /// The effect of a broadcast of this channel, on its own topic when `topic` is `None`.
    #[must_use]
    pub fn broadcast(
        &self,
        topic: Option<String>,
        event: String,
        payload: Payload,
        exclude_self: bool,
    ) -> ServerEffect {
        let topic = topic.map_or_else(|| Arc::clone(&self.topic), Arc::from);
        let broadcast = Arc::new(Broadcast { topic, event: event.into(), payload });
        ServerEffect::Broadcast { broadcast, except: exclude_self.then_some(self.channel) }
    }
}
