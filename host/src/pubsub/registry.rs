//! Who subscribes to what.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use indexmap::IndexMap;
use smol_str::SmolStr;

use super::Broadcast;
use crate::channel::ChannelId;
use crate::outbox::{Outbox, Overflow};
use crate::wire::Serializer;

/// One subscription of one channel to one topic.
#[derive(Clone, Debug)]
pub struct Subscriber {
    /// Whose it is.
    pub channel: ChannelId,
    /// The channel's own topic, which need not be the one subscribed to.
    pub topic: Arc<str>,
    /// Leads to the connection.
    pub outbox: Arc<Outbox>,
    /// What gives way when the outbox is full.
    pub overflow: Overflow,
    /// How broadcasts reach it.
    pub delivery: Delivery,
}

/// How broadcasts reach a subscriber.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// As encoded frames, except for these events, which go to `handle-out`.
    Fastlane {
        /// The client's protocol version.
        serializer: Serializer,
        /// Events its plugin intercepts.
        intercepts: Arc<[SmolStr]>,
    },
    /// To `handle-info`.
    Info,
}

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

/// The subscribers of one topic, in the order of subscription until one leaves.
#[derive(Debug, Default)]
pub(super) struct Subscribers(RwLock<IndexMap<(ChannelId, bool), Subscriber>>);

impl Subscribers {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, IndexMap<(ChannelId, bool), Subscriber>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Topics in shards, so that joins on different topics seldom meet.
#[derive(Debug)]
pub(super) struct Registry {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    hasher: RandomState,
}

type Shard = HashMap<Arc<str>, Arc<Subscribers>>;

/// More than any machine's threads, and few enough to cost nothing.
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
    pub(super) fn topic(&self, topic: &str) -> Option<Arc<Subscribers>> {
        self.shard(topic).get(topic).cloned()
    }

    pub(super) fn insert(&self, topic: &Arc<str>, subscriber: Subscriber) {
        let key = (subscriber.channel, matches!(subscriber.delivery, Delivery::Info));
        // The shard stays locked meanwhile, so that `remove` cannot drop the
        // topic between the two steps.
        let mut shard = self.shard(topic);
        let subscribers = shard.entry(Arc::clone(topic)).or_default();
        subscribers.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, subscriber);
    }

    pub(super) fn remove(&self, topic: &str, channel: ChannelId) {
        let mut shard = self.shard(topic);
        let Some(subscribers) = shard.get(topic) else { return };
        let mut map = subscribers.0.write().unwrap_or_else(PoisonError::into_inner);
        map.swap_remove(&(channel, false));
        map.swap_remove(&(channel, true));
        let empty = map.is_empty();
        drop(map);
        if empty {
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
