//! Who is present on which topic, and what clients and plugins are told of it.
//!
//! The state is in [`millrace_presence`], one of some shards for each topic. Under the lock of a
//! shard its notices go to the outboxes of clients, so that each client gets them in their order,
//! and a state between the right two of them. No plugin is called under it.
//!
//! A topic with many members costs whoever changes something on it one entry in each of their
//! outboxes. So the window of its changes grows with their number.

mod reasons;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytestring::ByteString;
use millrace_presence::{Notice, Now, Owner, PresenceError, PresenceEvent, Presences};
use millrace_session::channel::{Broadcast, ChannelId, PresenceChange};
use millrace_telemetry::{Metric, Metrics};
use millrace_wasm::PresenceReader;
use millrace_wire::TopicPattern;
use tokio::sync::Notify;
use tracing::debug;

use crate::config::PresenceConfig;
use crate::pubsub::PubSub;

/// The presences of this server.
pub(crate) struct Presence {
    shards: Box<[Shard]>,
    hasher: RandomState,
    /// The topics whose clients get a state even if nobody was ever there.
    patterns: Vec<TopicPattern>,
    /// Whether anybody was ever tracked: an app without presences does not pay for them.
    is_used: AtomicBool,
    started: Instant,
    pubsub: Arc<PubSub>,
    metrics: Metrics,
    /// Takes the changes that plugins are told of.
    changes: OnceLock<Arc<dyn ChangeSink>>,
    /// Wakes [`Self::run`] when something is due earlier than it knew.
    earlier: Notify,
}

/// Whoever tells plugins of changes.
pub(crate) trait ChangeSink: Send + Sync {
    /// Takes a change: the payload of a `presence_diff`. Called under the lock of a shard, so it
    /// only queues it.
    fn take(&self, topic: &Arc<str>, diff: &ByteString);
}

struct Shard {
    presences: Mutex<Presences>,
    /// The time at which something is due, in milliseconds since the start; [`NEVER`] if nothing
    /// waits.
    due_ms: AtomicU64,
}

const NEVER: u64 = u64::MAX;
/// The number of shards: some times the number of threads of any machine, so that two seldom want
/// the same.
const SHARDS: u32 = 64;

impl Presence {
    /// Nobody is present yet. `salt` tells the refs of this run from those of others.
    pub(crate) fn new(
        config: &PresenceConfig,
        salt: u32,
        pubsub: Arc<PubSub>,
        metrics: Metrics,
    ) -> Self {
        let (limits, patterns, others) = (config.limits(), config.patterns(), config.others());
        let choices = patterns.clone();
        let choose = Arc::new(move |topic: &str| {
            let found = choices.iter().find(|(pattern, _)| pattern.matches(topic));
            found.map_or(others, |(_, settings)| *settings)
        });
        let shard = |number: u32| {
            let presences = Presences::new(limits, salt ^ number, choose.clone());
            Shard { presences: Mutex::new(presences), due_ms: AtomicU64::new(NEVER) }
        };
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            hasher: RandomState::new(),
            patterns: patterns.into_iter().map(|(pattern, _)| pattern).collect(),
            is_used: AtomicBool::new(false),
            started: Instant::now(),
            pubsub,
            metrics,
            changes: OnceLock::new(),
            earlier: Notify::new(),
        }
    }

    /// Has plugins told of changes from now on.
    pub(crate) fn tell(&self, changes: Arc<dyn ChangeSink>) {
        self.changes.get_or_init(|| changes);
    }

    /// Whether clients of a topic are told who is there: somebody is, or the configuration says so.
    pub(crate) fn has(&self, topic: &str) -> bool {
        let is_covered = || self.patterns.iter().any(|pattern| pattern.matches(topic));
        is_covered() || self.is_used() && self.shard(topic).lock().state(topic).is_some()
    }

    /// Makes the changes of a join, and hands to `send` what its client is told: everybody, to which
    /// all that is broadcast from then on applies. Nothing if nobody is there, unless `is_told`.
    ///
    /// The channel has to be subscribed: a topic that begins meanwhile either finds it among its
    /// subscribers, or is found here.
    pub(crate) fn join(
        &self,
        topic: &str,
        channel: ChannelId,
        changes: &[PresenceChange],
        is_told: bool,
        send: impl FnOnce(PresenceEvent),
    ) {
        if !is_told && !self.is_used() {
            return;
        }
        self.is_used.fetch_or(!changes.is_empty(), Ordering::SeqCst);
        let now = self.now();
        self.with(topic, |presences| {
            for change in changes {
                self.make(presences, topic, channel, change, now);
            }
            let state = presences.state_for(topic, Owner(channel));
            let empty = || is_told.then(PresenceEvent::empty_state);
            if let Some(state) = state.or_else(empty) {
                send(state);
            }
        });
    }

    /// Hands to `send` what a client of the topic is told that has missed changes: everybody.
    pub(crate) fn tell_again(&self, topic: &str, send: impl FnOnce(PresenceEvent)) {
        let mut presences = self.shard(topic).lock();
        send(presences.state(topic).unwrap_or_else(PresenceEvent::empty_state));
    }

    /// Changes what a channel tracks on its topic. A change that is not allowed is left out, counted
    /// and told in the log.
    pub(crate) fn change(&self, topic: &str, channel: ChannelId, change: &PresenceChange) {
        self.is_used.store(true, Ordering::SeqCst);
        let now = self.now();
        self.with(topic, |presences| self.make(presences, topic, channel, change, now));
    }

    fn make(
        &self,
        presences: &mut Presences,
        topic: &str,
        channel: ChannelId,
        change: &PresenceChange,
        now: Now,
    ) {
        let owner = Owner(channel);
        let made = match change {
            PresenceChange::Track { key, meta } => {
                presences.track(owner, topic, key, meta, now).map(|_| ())
            }
            PresenceChange::Update { key, meta } => {
                presences.update(owner, topic, key, meta, now).map(|_| ())
            }
            PresenceChange::Untrack { key } => {
                presences.untrack(owner, topic, key, now);
                Ok(())
            }
        };
        if let Err(error) = made {
            self.refused(topic, channel, &error);
        }
    }

    /// Ends all that a channel tracks on its topic, whatever has ended the channel.
    pub(crate) fn leave(&self, topic: &str, channel: ChannelId) {
        if self.is_used() {
            let now = self.now();
            self.with(topic, |presences| presences.leave(Owner(channel), now));
        }
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::SeqCst)
    }

    /// The number of members of all topics.
    pub(crate) fn member_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().members()).sum()
    }

    /// The topics with the most members, with the number of each, the largest first.
    pub(crate) fn largest(&self, topics: usize) -> Vec<(Arc<str>, usize)> {
        let mut largest = Vec::new();
        for shard in &self.shards {
            largest.extend(shard.lock().topics().map(|(topic, members)| (members, topic.clone())));
            largest.sort_unstable_by(|a, b| b.cmp(a));
            largest.truncate(topics);
        }
        largest.into_iter().map(|(members, topic)| (topic, members)).collect()
    }

    /// Sends what is due at the end of windows, until it is dropped.
    pub(crate) async fn run(&self) {
        loop {
            let due_ms = self.shards.iter().map(|shard| shard.due_ms.load(Ordering::Acquire)).min();
            let wait = match due_ms.unwrap_or(NEVER) {
                NEVER => Duration::MAX,
                due_ms => Duration::from_millis(due_ms.saturating_sub(self.now().ms)),
            };
            tokio::select! {
                () = tokio::time::sleep(wait.min(LONGEST_SLEEP)) => {}
                () = self.earlier.notified() => continue,
            }
            let now_ms = self.now().ms;
            for shard in &self.shards {
                if shard.due_ms.load(Ordering::Acquire) <= now_ms {
                    self.flush(shard, &mut shard.lock(), now_ms);
                }
            }
        }
    }

    /// Changes a shard, and sends what is due at once.
    fn with<T>(&self, topic: &str, change: impl FnOnce(&mut Presences) -> T) -> T {
        let shard = self.shard(topic);
        let mut presences = shard.lock();
        let result = change(&mut presences);
        self.flush(shard, &mut presences, self.now().ms);
        result
    }

    fn flush(&self, shard: &Shard, presences: &mut Presences, now_ms: u64) {
        if presences.next_due().is_some_and(|due_ms| due_ms <= now_ms) {
            for notice in presences.flush_due(now_ms) {
                self.broadcast(notice);
            }
        }
        let due_ms = presences.next_due().unwrap_or(NEVER);
        if due_ms < shard.due_ms.swap(due_ms, Ordering::AcqRel) {
            self.earlier.notify_one();
        }
    }

    fn broadcast(&self, Notice { topic, event }: Notice) {
        let name = event.name();
        self.metrics.count_of(Metric::PresenceSent, &[name], 1);
        if let (PresenceEvent::Diff(diff), Some(changes)) = (&event, self.changes.get()) {
            changes.take(&topic, diff);
        }
        let is_begin = matches!(event, PresenceEvent::Begin);
        let broadcast = Broadcast { topic, event: name.into(), payload: event.into_payload() };
        match is_begin {
            true => self.pubsub.tell_newcomers(&Arc::new(broadcast)),
            false => {
                self.pubsub.local_broadcast(&Arc::new(broadcast), None);
            }
        }
    }

    fn refused(&self, topic: &str, channel: ChannelId, error: &PresenceError) {
        self.metrics.count_of(Metric::PresenceRefused, &[reasons::reason(error)], 1);
        debug!(topic, channel, "a change of presence was left out: {error}");
    }

    fn shard(&self, topic: &str) -> &Shard {
        let at = self.hasher.hash_one(topic) % u64::from(SHARDS);
        let at = usize::try_from(at).unwrap_or_default();
        // There are `SHARDS` of them.
        #[expect(clippy::indexing_slicing, reason = "the rest of a division by their number")]
        &self.shards[at]
    }

    fn now(&self) -> Now {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            unix_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX),
        }
    }
}

/// The longest time that [`Presence::run`] sleeps.
const LONGEST_SLEEP: Duration = Duration::from_secs(3600);

impl Shard {
    fn lock(&self) -> MutexGuard<'_, Presences> {
        self.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PresenceReader for Presence {
    fn members(&self, topic: &str) -> ByteString {
        self.shard(topic).lock().list(topic)
    }

    fn get(&self, topic: &str, key: &str) -> Option<ByteString> {
        self.shard(topic).lock().get(topic, key)
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("patterns", &self.patterns).finish_non_exhaustive()
    }
}
