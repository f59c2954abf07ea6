//! Notices: broadcasts that go to a channel's plugin, and not straight to its client.

use std::sync::Arc;

use super::{Broadcast, ChannelId};

/// A broadcast for one channel, which the connection's task hands to
/// [`Session::notice`](crate::Session::notice).
#[derive(Clone, Debug)]
pub struct Notice {
    /// The channel's own topic.
    pub topic: Arc<str>,
    /// The channel's number.
    pub channel: ChannelId,
    /// The broadcast, on the channel's own topic or on one that it subscribes to.
    pub broadcast: Arc<Broadcast>,
    /// Whether the broadcast goes to `handle-out` (an event that the plugin intercepts) and
    /// not to `handle-info`.
    pub intercepted: bool,
}
