//! The subscriptions: which channels listen to which topic.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use indexmap::IndexMap;
use millrace_session::channel::ChannelId;
use millrace_wire::Serializer;
use smol_str::SmolStr;

use crate::outbox::{Outbox, Overflow};

/// One subscription of one channel to one topic.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// The channel that subscribes.
    pub channel: ChannelId,
    /// The channel's own topic, which need not be the one it subscribes to.
    pub topic: Arc<str>,
    /// The outbox of its connection.
    pub outbox: Arc<Outbox>,
    /// The policy for a full outbox.
    pub overflow: Overflow,
    /// Whether its client has been told who is present on the topic, or is about to be.
    pub knows_presences: bool,
    /// The way in which broadcasts reach it.
    pub delivery: Delivery,
}

/// The way in which broadcasts reach a subscriber.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Broadcasts go to the client as encoded frames, except for intercepted events, which go to
    /// the plugin's `handle-out`.
    Fastlane {
        /// The client's protocol version.
        serializer: Serializer,
        /// The events that its plugin intercepts.
        intercepts: Arc<[SmolStr]>,
    },
    /// Broadcasts go to the plugin's `handle-info`.
    Info,
}

/// The subscribers of one topic, in the order of subscription until one leaves.
#[derive(Debug)]
pub(super) struct Subscribers(RwLock<Members>);

/// The subscribers of one topic, by channel and whether they listen through `handle-info`.
pub(super) type Map = IndexMap<(ChannelId, bool), Subscriber>;

/// What is changed under the lock.
#[derive(Debug)]
pub(super) struct Members {
    map: Map,
    /// Whether the last subscriber has left, so that the topic is not found any more.
    is_gone: bool,
}

impl Members {
    pub(super) fn map_mut(&mut self) -> &mut Map {
        &mut self.map
    }

    pub(super) fn map(&self) -> &Map {
        &self.map
    }
}

impl Subscribers {
    /// The subscribers of a new topic, with capacity for one: most topics are one client's own.
    fn for_one() -> Arc<Self> {
        Arc::new(Self(RwLock::new(Members { map: Map::with_capacity(1), is_gone: false })))
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Members> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Members> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All topics, in shards, so that joins on different topics seldom wait for each other.
///
/// A shard is never locked while a thread waits for the subscribers of a topic. These are locked
/// for as long as a broadcast to them takes, and only whoever joins or leaves that topic waits so
/// long.
#[derive(Debug)]
pub(super) struct Registry {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    hasher: RandomState,
}

type Shard = HashMap<Arc<str>, Arc<Subscribers>>;

/// The number of shards: more than most machines have threads, and few enough to cost nothing.
const SHARDS: usize = 64;

impl Default for Registry {
    fn default() -> Self {
        Self {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            hasher: RandomState::new(),
        }
    }
}

impl Registry {
    /// The subscribers of a topic.
    pub(super) fn topic(&self, topic: &str) -> Option<Arc<Subscribers>> {
        self.shard(topic).get(topic).cloned()
    }

    /// Adds a subscriber to a topic, in place of the same channel's with the same delivery.
    pub(super) fn insert(&self, topic: &Arc<str>, subscriber: Subscriber) {
        let key = (subscriber.channel, matches!(subscriber.delivery, Delivery::Info));
        loop {
            let subscribers = {
                let mut shard = self.shard(topic);
                Arc::clone(shard.entry(Arc::clone(topic)).or_insert_with(Subscribers::for_one))
            };
            let mut members = subscribers.write();
            if !members.is_gone {
                members.map.insert(key, subscriber);
                return;
            }
            // The last subscriber left between the two steps, and takes the topic out.
            drop(members);
            self.forget(topic, &subscribers);
        }
    }

    /// Removes the subscriptions of a channel to a topic.
    pub(super) fn remove(&self, topic: &str, channel: ChannelId) {
        let Some(subscribers) = self.topic(topic) else { return };
        let mut members = subscribers.write();
        members.map.swap_remove(&(channel, false));
        members.map.swap_remove(&(channel, true));
        members.is_gone = members.map.is_empty();
        let is_gone = members.is_gone;
        drop(members);
        if is_gone {
            self.forget(topic, &subscribers);
        }
    }

    /// Removes a topic whose last subscriber has left, unless it has been made anew.
    fn forget(&self, topic: &str, gone: &Arc<Subscribers>) {
        let mut shard = self.shard(topic);
        if shard.get(topic).is_some_and(|found| Arc::ptr_eq(found, gone)) {
            shard.remove(topic);
        }
    }

    fn shard(&self, topic: &str) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(topic) as usize;
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let shard = &self.shards[hash % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use millrace_telemetry::{Metrics, OutboxMeters};

    fn subscriber(channel: ChannelId) -> Subscriber {
        let meters = Arc::new(OutboxMeters::new(&Metrics::none()));
        Subscriber {
            channel,
            topic: "own".into(),
            outbox: Arc::new(Outbox::new(1, 1, meters)),
            overflow: Overflow::Close,
            knows_presences: false,
            delivery: Delivery::Info,
        }
    }

    #[test]
    fn other_topics_do_not_wait_for_a_broadcast() {
        let registry = Registry::default();
        // More topics than shards: some share that of the busy one.
        let topics: Vec<Arc<str>> = (0..10 * SHARDS).map(|n| n.to_string().into()).collect();
        registry.insert(&topics[0], subscriber(0));
        let busy = registry.topic(&topics[0]).unwrap();
        let broadcast = busy.read();
        thread::scope(|scope| {
            let joins = scope.spawn(|| registry.insert(&topics[0], subscriber(1)));
            for topic in &topics[1..] {
                registry.insert(topic, subscriber(2));
                registry.remove(topic, 2);
                assert!(registry.topic(topic).is_none());
            }
            assert_eq!(broadcast.map().len(), 1);
            drop(broadcast);
            joins.join().unwrap();
        });
        assert_eq!(busy.read().map().len(), 2);
    }

    #[test]
    fn nobody_is_lost_where_some_join_as_others_leave() {
        let registry = Registry::default();
        let topic: Arc<str> = "room:a".into();
        thread::scope(|scope| {
            for channel in 0..4 {
                let (registry, topic) = (&registry, &topic);
                scope.spawn(move || {
                    for _ in 0..2_000 {
                        registry.insert(topic, subscriber(channel));
                        let found = registry.topic(topic).unwrap();
                        assert!(found.read().map().contains_key(&(channel, true)));
                        drop(found);
                        registry.remove(topic, channel);
                    }
                });
            }
        });
        assert!(registry.topic(&topic).is_none());
    }
}
