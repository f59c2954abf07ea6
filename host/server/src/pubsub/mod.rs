//! PubSub: from a topic to its subscribers to their outboxes.
//!
//! A broadcast is encoded once for each protocol version, and all subscribers share the bytes (the
//! "fastlane"). Only subscribers that intercept a broadcast, or that listen to a topic that is not
//! their own, get it as a [`Notice`](millrace_session::channel::Notice) for their plugin.
//!
//! Other servers are reached through an [`Adapter`]; without one a broadcast stays on this server.

mod adapter;
mod fastlane;
mod registry;

pub(crate) use adapter::Adapter;
pub use adapter::LocalOnly;
pub use registry::{Delivery, Subscriber};

use std::sync::Arc;

use millrace_session::channel::{Broadcast, ChannelId};
use millrace_telemetry::{Metric, Metrics, Monotonic, Origin, Published};
use registry::Registry;

/// The server's PubSub.
#[derive(Debug)]
pub struct PubSub {
    registry: Registry,
    adapter: Box<dyn Adapter>,
    metrics: Metrics,
}

impl PubSub {
    /// A PubSub that reaches other servers through `adapter`.
    #[must_use]
    pub fn new(adapter: Box<dyn Adapter>, metrics: Metrics) -> Self {
        Self { registry: Registry::default(), adapter, metrics }
    }

    /// Adds a subscriber. The same channel subscribing twice to a topic, with
    /// the same kind of delivery, is one subscription.
    pub fn subscribe(&self, topic: &Arc<str>, subscriber: Subscriber) {
        self.registry.insert(topic, subscriber);
    }

    /// Removes all subscriptions of a channel to a topic.
    pub fn unsubscribe(&self, topic: &str, channel: ChannelId) {
        self.registry.remove(topic, channel);
    }

    /// Sends to every subscriber on every server, except to the channel `except`. With an `origin`,
    /// the broadcast is for that event of a pipeline, from which its delivery is measured. Returns
    /// the number of subscribers reached on this server.
    pub fn broadcast(
        &self,
        broadcast: &Arc<Broadcast>,
        except: Option<ChannelId>,
        origin: Option<Arc<Origin>>,
    ) -> usize {
        self.adapter.publish(broadcast);
        self.measured(broadcast, except, origin)
    }

    /// Sends to the subscribers on this server alone, except to the channel `from`. An adapter
    /// calls this for a broadcast from elsewhere.
    pub fn local_broadcast(&self, broadcast: &Arc<Broadcast>, from: Option<ChannelId>) -> usize {
        self.measured(broadcast, from, None)
    }

    /// Sends to the subscribers on this server, and measures it.
    fn measured(
        &self,
        broadcast: &Arc<Broadcast>,
        from: Option<ChannelId>,
        origin: Option<Arc<Origin>>,
    ) -> usize {
        let published = || Published { at: Monotonic::now(), origin };
        let reached = self.dispatch(broadcast, from, self.metrics.is_on().then(published).as_ref());
        self.metrics.count(Metric::BroadcastSent, 1);
        self.metrics.record(Metric::BroadcastFanout, reached as u64);
        self.metrics.topics().delivered(&broadcast.topic, reached);
        reached
    }

    /// As [`Self::local_broadcast`], for a broadcast of the server itself, which is not measured.
    pub(crate) fn own_broadcast(&self, broadcast: &Arc<Broadcast>) {
        self.dispatch(broadcast, None, None);
    }

    /// Sends to those clients of the topic alone that have not been told who is present there. From
    /// now on they have.
    pub(crate) fn tell_newcomers(&self, broadcast: &Arc<Broadcast>) {
        let Some(subscribers) = self.registry.topic(&broadcast.topic) else { return };
        fastlane::tell_newcomers(subscribers.write().map_mut(), broadcast);
    }

    fn dispatch(
        &self,
        broadcast: &Arc<Broadcast>,
        from: Option<ChannelId>,
        published: Option<&Published>,
    ) -> usize {
        match self.registry.topic(&broadcast.topic) {
            Some(subscribers) => {
                fastlane::dispatch(subscribers.read().map(), broadcast, from, published)
            }
            None => 0,
        }
    }
}
