//! The state of one shard: its topics, its owners, and what is due.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use bytestring::ByteString;
use smallvec::SmallVec;
use smol_str::SmolStr;

use crate::limits::ChooseSettings;
use crate::member::{Entry, Member, Origin};
use crate::nodes::{Change, LocalOps};
use crate::phx_ref::Refs;
use crate::topic::{Topic, has_slack};
use crate::{Limits, Meta, Notice, Now, Owner, PhxRef, PresenceError, PresenceEvent, render};

/// The presences of one shard of one node. A topic belongs to one shard.
///
/// After each operation [`Presences::flush_due`] has what is due at once, which is that a topic has
/// begun, and everything on topics whose window is 0; and [`Presences::next_due`] says when it has
/// more.
pub struct Presences {
    limits: Limits,
    choose: Arc<ChooseSettings>,
    refs: Refs,
    /// The topics that are in use. The hash is std's, as clients choose topics.
    pub(crate) topics: HashMap<Arc<str>, Box<Topic>>,
    /// What each owner tracks. A fast hash is safe: the server gives the numbers.
    pub(crate) owners: HashMap<Owner, Tracked, foldhash::fast::RandomState>,
    /// The times in milliseconds at which there is something to tell, with their topics.
    pub(crate) due: BTreeSet<(u64, Arc<str>)>,
    /// The operations of this node's own owners, if another part of the server takes them.
    pub(crate) local_ops: Option<LocalOps>,
}

/// The topics and keys that an owner tracks.
pub(crate) type Tracked = SmallVec<[(Arc<str>, SmolStr); 1]>;

impl Presences {
    /// A shard without presences. `salt` tells the refs of this node from those of others; a random
    /// number will do.
    pub fn new(limits: Limits, salt: u32, choose: Arc<ChooseSettings>) -> Self {
        Self {
            limits,
            choose,
            refs: Refs::new(salt),
            topics: HashMap::new(),
            owners: HashMap::default(),
            due: BTreeSet::new(),
            local_ops: None,
        }
    }

    /// Adds the key to the topic, with a meta of this owner; the meta's ref.
    ///
    /// # Errors
    ///
    /// The owner tracks this key on this topic already; the key or the meta is not allowed; or
    /// there would be too many metas of the key, or keys of the owner.
    pub fn track(
        &mut self,
        owner: Owner,
        topic: &str,
        key: &str,
        meta: &str,
        now: Now,
    ) -> Result<PhxRef, PresenceError> {
        let tracked = self.owners.get(&owner).map_or(&[][..], |tracked| tracked.as_slice());
        if tracked.iter().any(|(its_topic, its_key)| **its_topic == *topic && its_key == key) {
            return Err(PresenceError::AlreadyTracked);
        }
        self.check_key(key)?;
        let meta = Meta::parse(meta, self.limits.max_meta_bytes)?;
        let allowed = self.limits.max_keys_per_owner;
        if tracked.len() >= allowed {
            return Err(PresenceError::TooManyKeys { allowed });
        }
        let member = self.topics.get(topic).and_then(|topic| topic.member(key));
        let metas = member.map_or(0, Member::places);
        let allowed = self.limits.max_metas_per_key;
        if metas >= allowed {
            return Err(PresenceError::TooManyMetas { allowed });
        }
        let (topic, key) = (self.topic_name(topic), SmolStr::new(key));
        let phx_ref = self.refs.next(now.unix_ns);
        let entry = Entry::joining(Origin::Local(owner), phx_ref, None, meta.clone());
        self.change(&topic, &key, now.ms, |member| member.join(entry));
        self.owners.entry(owner).or_default().push((topic.clone(), key.clone()));
        self.record(&topic, &key, phx_ref, || Change::Join(meta));
        Ok(phx_ref)
    }

    /// Replaces the meta that this owner has under the key; the new meta's ref.
    ///
    /// Clients get a join of the new meta, with the old one's ref as `phx_ref_prev`, and a leave of
    /// the old. If they have not been told of the old one yet, the new one takes its place, and
    /// they hear of a join only: without `phx_ref_prev`, or with the one that they know of.
    ///
    /// # Errors
    ///
    /// The owner does not track this key on this topic, or the meta is not allowed.
    pub fn update(
        &mut self,
        owner: Owner,
        topic: &str,
        key: &str,
        meta: &str,
        now: Now,
    ) -> Result<PhxRef, PresenceError> {
        let Some((topic, key)) = self.tracked(owner, topic, key) else {
            return Err(PresenceError::NotTracked);
        };
        let member = self.topics.get(&topic).and_then(|topic| topic.member(&key));
        let prev = member.and_then(|member| member.ref_of(owner));
        let prev = prev.ok_or(PresenceError::NotTracked)?;
        let meta = Meta::parse(meta, self.limits.max_meta_bytes)?;
        let phx_ref = self.refs.next(now.unix_ns);
        let origin = Origin::Local(owner);
        let text = meta.clone();
        self.change(&topic, &key, now.ms, |member| member.update(origin, prev, phx_ref, text));
        self.record(&topic, &key, phx_ref, || Change::Update { prev, meta });
        Ok(phx_ref)
    }

    /// Removes the meta that this owner has under the key; whether there was one.
    pub fn untrack(&mut self, owner: Owner, topic: &str, key: &str, now: Now) -> bool {
        let Some(tracked) = self.owners.get_mut(&owner) else { return false };
        let is_it =
            |(its_topic, its_key): &(Arc<str>, SmolStr)| **its_topic == *topic && its_key == key;
        let Some(at) = tracked.iter().position(is_it) else { return false };
        let (topic, key) = tracked.remove(at);
        if tracked.is_empty() {
            self.remove_owner(owner);
        }
        self.end(owner, &topic, &key, now);
        true
    }

    /// Removes all metas of an owner on all topics, whatever ended it; their number. Costs what the
    /// owner tracks, and not what there is.
    pub fn leave(&mut self, owner: Owner, now: Now) -> usize {
        let tracked = self.remove_owner(owner);
        for (topic, key) in &tracked {
            self.end(owner, topic, key, now);
        }
        tracked.len()
    }

    /// What a client that joins the topic is sent: what all its clients know at this moment, to
    /// which all later notices apply. `None` while the topic is not in use: when it is,
    /// [`PresenceEvent::Begin`] is for this client.
    pub fn state(&mut self, topic: &str) -> Option<PresenceEvent> {
        Some(self.topics.get_mut(topic)?.state())
    }

    /// What a client that joins the topic is sent whose own channel, this owner, has just tracked
    /// something there: [`Presences::state`], and in it what of the owner's others are told with the
    /// next diff. That diff has it once more; or, if it leaves before, in `joins` and in `leaves`.
    /// While clients get counts it is the count.
    ///
    /// What it returns has to reach the client before later notices do.
    pub fn state_for(&mut self, topic: &str, owner: Owner) -> Option<PresenceEvent> {
        let tracked = self.owners.get(&owner).map_or(&[][..], |tracked| tracked.as_slice());
        let here = tracked.iter().filter(|(its_topic, _)| **its_topic == *topic);
        let state = self.topics.get_mut(topic)?.state_for(owner, here.map(|(_, key)| key));
        Some(state)
    }

    /// Everybody who is on the topic now, as JSON of the form of a state.
    #[must_use]
    pub fn list(&self, topic: &str) -> ByteString {
        match self.topics.get(topic) {
            Some(topic) => topic.list(),
            None => ByteString::from_static("{}"),
        }
    }

    /// The metas that a key has on the topic now, as JSON: `{"metas":[…]}`.
    #[must_use]
    pub fn get(&self, topic: &str, key: &str) -> Option<ByteString> {
        let member = self.topics.get(topic)?.member(key)?;
        member.is_current().then(|| render::member(member, Entry::is_current))
    }

    /// The number of members, which are keys, that are on the topic now.
    #[must_use]
    pub fn count(&self, topic: &str) -> usize {
        self.topics.get(topic).map_or(0, |topic| topic.current())
    }

    /// The number of members of all topics, each topic's for itself.
    #[must_use]
    pub fn members(&self) -> usize {
        self.topics.values().map(|topic| topic.current()).sum()
    }

    /// The topics that are in use, with the number of members of each, in no order.
    pub fn topics(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.topics.iter().map(|(name, topic)| (name, topic.current()))
    }

    /// The time at which [`Presences::flush_due`] has something, in milliseconds.
    #[must_use]
    pub fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The notices of all topics that have just begun or whose window is over, those that wait
    /// longest first. From now on, what they tell is known: they have to be sent.
    pub fn flush_due(&mut self, now_ms: u64) -> Vec<Notice> {
        let mut notices = Vec::new();
        while let Some((due, name)) = self.due.pop_first() {
            if due > now_ms {
                self.due.insert((due, name));
                break;
            }
            let Some(topic) = self.topics.get_mut(&name) else { continue };
            let event = topic.flush();
            if topic.is_over() {
                self.remove_topic(&name);
            } else if let Some(next) = topic.due() {
                self.due.insert((next, name.clone()));
            }
            notices.extend(event.map(|event| Notice { topic: name, event }));
        }
        notices
    }

    /// The name of a topic as all have it that keep it.
    fn topic_name(&self, topic: &str) -> Arc<str> {
        match self.topics.get_key_value(topic) {
            Some((name, _)) => name.clone(),
            None => topic.into(),
        }
    }

    /// The names of a topic and a key, if this owner tracks the key there.
    fn tracked(&self, owner: Owner, topic: &str, key: &str) -> Option<(Arc<str>, SmolStr)> {
        let mut tracked = self.owners.get(&owner)?.iter();
        tracked.find(|(its_topic, its_key)| **its_topic == *topic && its_key == key).cloned()
    }

    fn check_key(&self, key: &str) -> Result<(), PresenceError> {
        let allowed = self.limits.max_key_bytes;
        match key.len() {
            0 => Err(PresenceError::KeyEmpty),
            found if found > allowed => Err(PresenceError::KeyTooLong { found, allowed }),
            _ => Ok(()),
        }
    }

    /// Ends the meta that an owner has under a key.
    fn end(&mut self, owner: Owner, topic: &Arc<str>, key: &SmolStr, now: Now) {
        let ended = self.change(topic, key, now.ms, |member| {
            let phx_ref = member.ref_of(owner)?;
            member.leave(Origin::Local(owner), phx_ref);
            Some(phx_ref)
        });
        if let Some(phx_ref) = ended {
            self.record(topic, key, phx_ref, || Change::Leave);
        }
    }

    /// Changes a member of a topic, which is made if it is not there and goes if nobody is on it
    /// then; and notes until when the change may wait.
    pub(crate) fn change<R>(
        &mut self,
        name: &Arc<str>,
        key: &SmolStr,
        now_ms: u64,
        change: impl FnOnce(&mut Member) -> R,
    ) -> R {
        let choose = &self.choose;
        let topic = self.topics.entry(name.clone());
        let topic = topic.or_insert_with(|| Box::new(Topic::new(choose(name), now_ms)));
        let was_due = topic.due();
        let result = topic.change(key, change);
        topic.update_window(now_ms);
        let due = topic.due();
        if due != was_due {
            if let Some(due) = was_due {
                self.due.remove(&(due, name.clone()));
            }
            if let Some(due) = due {
                self.due.insert((due, name.clone()));
            }
        }
        if topic.is_over() {
            self.remove_topic(name);
        }
        result
    }

    fn remove_topic(&mut self, name: &str) {
        self.topics.remove(name);
        if has_slack(self.topics.len(), self.topics.capacity()) {
            self.topics.shrink_to(self.topics.len() * 2);
        }
    }

    /// Forgets an owner; what it tracked.
    fn remove_owner(&mut self, owner: Owner) -> Tracked {
        let tracked = self.owners.remove(&owner).unwrap_or_default();
        if has_slack(self.owners.len(), self.owners.capacity()) {
            self.owners.shrink_to(self.owners.len() * 2);
        }
        tracked
    }

    /// Keeps an operation of this node for others, if they take them.
    fn record(
        &mut self,
        topic: &Arc<str>,
        key: &SmolStr,
        phx_ref: PhxRef,
        change: impl FnOnce() -> Change,
    ) {
        if let Some(ops) = &mut self.local_ops {
            ops.push(topic, key, phx_ref, change(), self.limits.max_local_ops);
        }
    }
}

impl fmt::Debug for Presences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presences")
            .field("limits", &self.limits)
            .field("topics", &self.topics)
            .field("owners", &self.owners)
            .field("due", &self.due)
            .finish_non_exhaustive()
    }
}
