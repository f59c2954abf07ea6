//! Who a channel is.

use std::sync::Arc;

use millrace_wire::{Payload, Ref};

use super::{Broadcast, ServerEffect};

/// Unique among the joins of a server since it started.
pub type ChannelId = u64;

/// What stays the same for as long as a channel lives. Calls in flight share
/// it, so that their effects find their way even when the channel is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Context {
    /// Unique among the connections of the server since it started.
    pub connection: u64,
    /// Unique among its joins.
    pub channel: ChannelId,
    /// The joined topic.
    pub topic: Arc<str>,
    /// What its pushes carry: the join ref of the join message, or its ref when
    /// it had none.
    pub join_ref: Option<Ref>,
    /// The join ref of the join message as it was, which `phx_close` and
    /// `phx_error` carry.
    pub sent_join_ref: Option<Ref>,
    /// The ref of the join message. Some clients use it as the join ref of what
    /// they send later.
    pub join_message_ref: Option<Ref>,
    /// Who connected, as far as a plugin said.
    pub user_id: Option<Arc<str>>,
}

impl Context {
    /// The message that a call of the channel broadcasts; without a topic, on its own.
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
