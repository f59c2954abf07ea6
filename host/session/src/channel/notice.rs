//! Broadcasts that a channel has to see before its client does.

use std::sync::Arc;

use super::{Broadcast, ChannelId};

/// Something for a connection's task to take to a channel.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The channel's own topic.
    pub topic: Arc<str>,
    /// Whose it is.
    pub channel: ChannelId,
    /// What was broadcast.
    pub broadcast: Arc<Broadcast>,
    /// Whether it goes to `handle-out` rather than `handle-info`.
    pub intercepted: bool,
}
