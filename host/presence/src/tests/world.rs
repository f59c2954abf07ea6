//! Two nodes, their owners and clients, with everything that is true written down beside them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::client::{self, Client, Metas, metas};
use super::{meta, parse};
use crate::{
    Limits, Node, Notice, Now, Owner, PresenceError, PresenceEvent, Presences, TopicSettings,
};

pub(super) const TOPICS: [&str; 3] = ["zero", "short", "long"];
/// The owners with numbers below it have no client.
const FIRST_OF_CLIENT: u64 = 8;
pub(super) const KEYS: [&str; 4] = ["u1", "__proto__", "ü\"\\\n", "3"];

/// What a node's own owners have: the refs by topic, key and owner.
type Truth = BTreeMap<(&'static str, &'static str, u64), String>;

/// An operation of an owner.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Track { topic: usize, key: usize, v: u32 },
    Update { topic: usize, key: usize, v: u32 },
    Untrack { topic: usize, key: usize },
    Leave,
}

/// One node: its presences and what is true of its own owners.
struct NodeModel {
    presences: Presences,
    truth: Truth,
}

/// The node under test, another one, and the clients of the first.
pub(super) struct World {
    here: NodeModel,
    other: NodeModel,
    /// What this node was told of the other.
    heard: Truth,
    /// Whether this node has forgotten the other, or heard nothing from it yet.
    is_apart: bool,
    clients: Vec<Client>,
    /// The number of the next owner that has a client.
    next_owner: u64,
    /// The refs that clients were shown as their own.
    shown: BTreeSet<String>,
    max_members: usize,
    now_ms: u64,
}

impl NodeModel {
    fn new(salt: u32, max_members: usize) -> Self {
        let choose = move |topic: &str| {
            let window_ms = match topic {
                "zero" => 0,
                "short" => 100,
                _ => 1_500,
            };
            TopicSettings { window_ms, max_members }
        };
        let limits = Limits { max_keys_per_owner: 100, ..Limits::default() };
        Self { presences: Presences::new(limits, salt, Arc::new(choose)), truth: Truth::new() }
    }

    fn run(&mut self, owner: u64, operation: Operation, now: Now) {
        let presences = &mut self.presences;
        match operation {
            Operation::Track { topic, key, v } => {
                let (topic, key) = (TOPICS[topic], KEYS[key]);
                let result = presences.track(Owner(owner), topic, key, &meta(v), now);
                match self.truth.entry((topic, key, owner)) {
                    Entry::Vacant(entry) => {
                        entry.insert(result.unwrap().to_string());
                    }
                    Entry::Occupied(_) => assert_eq!(result, Err(PresenceError::AlreadyTracked)),
                }
            }
            Operation::Update { topic, key, v } => {
                let (topic, key) = (TOPICS[topic], KEYS[key]);
                let result = presences.update(Owner(owner), topic, key, &meta(v), now);
                match self.truth.get_mut(&(topic, key, owner)) {
                    Some(phx_ref) => *phx_ref = result.unwrap().to_string(),
                    None => assert_eq!(result, Err(PresenceError::NotTracked)),
                }
            }
            Operation::Untrack { topic, key } => {
                let (topic, key) = (TOPICS[topic], KEYS[key]);
                let was_there = self.truth.remove(&(topic, key, owner)).is_some();
                assert_eq!(presences.untrack(Owner(owner), topic, key, now), was_there);
            }
            Operation::Leave => {
                let before = self.truth.len();
                self.truth.retain(|(_, _, other), _| *other != owner);
                assert_eq!(presences.leave(Owner(owner), now), before - self.truth.len());
            }
        }
    }
}

/// Keys with their refs.
fn refs(metas: &Metas) -> BTreeMap<&str, BTreeSet<String>> {
    let text = |meta: &serde_json::Value| meta["phx_ref"].as_str().unwrap().to_owned();
    metas.iter().map(|(key, metas)| (key.as_str(), metas.iter().map(text).collect())).collect()
}

impl World {
    pub(super) fn new(max_members: usize) -> Self {
        Self {
            here: NodeModel::new(1, max_members),
            other: NodeModel::new(2, max_members),
            heard: Truth::new(),
            is_apart: true,
            clients: Vec::new(),
            next_owner: FIRST_OF_CLIENT,
            shown: BTreeSet::new(),
            max_members,
            now_ms: 0,
        }
    }

    fn now(&self) -> Now {
        Now { ms: self.now_ms, unix_ns: self.now_ms * 1_000_000 }
    }

    /// What newcomers of each topic would be sent, who have nothing as long as it is not in use.
    fn states(&mut self) -> Vec<PresenceEvent> {
        let states = TOPICS.iter().map(|topic| self.here.presences.state(topic));
        states.map(|state| state.unwrap_or(PresenceEvent::empty_state())).collect()
    }

    /// Does something to this node, and then tells clients what is due. Until then, what clients
    /// know is the same.
    fn step(&mut self, change: impl FnOnce(&mut Self)) {
        let before = self.states();
        change(self);
        assert_eq!(self.states(), before, "what clients know has changed untold");
        self.flush(self.now_ms);
    }

    pub(super) fn run_here(&mut self, owner: u64, operation: Operation) {
        self.step(|world| world.here.run(owner, operation, world.now()));
    }

    pub(super) fn run_other(&mut self, owner: u64, operation: Operation) {
        self.other.run(owner, operation, self.now());
        self.other.presences.flush_due(self.now_ms);
    }

    /// This node hears what the other has done.
    pub(super) fn exchange(&mut self) {
        let taken = self.other.presences.take_local_ops();
        let is_whole = std::mem::take(&mut self.is_apart) || taken.lost;
        let ops = if is_whole { self.other.presences.local_entries() } else { taken.ops };
        self.step(|world| {
            world.here.presences.apply_remote(Node(2), ops, world.now());
            world.heard = world.other.truth.clone();
        });
    }

    /// This node forgets the other, and may hear of it again at once.
    pub(super) fn forget(&mut self, reconnects: bool) {
        self.is_apart = true;
        self.heard.clear();
        let now = self.now();
        if !reconnects {
            return self.step(|world| world.here.presences.forget_node(Node(2), now));
        }
        self.here.presences.forget_node(Node(2), now);
        self.exchange();
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.flush(self.now_ms);
    }

    pub(super) fn subscribe(&mut self, topic: usize) {
        let mut client = Client::new(TOPICS[topic]);
        if let Some(state) = self.here.presences.state(client.topic) {
            client.receive(&state);
        }
        self.clients.push(client);
    }

    /// A new client joins, and its owner tracks in that.
    pub(super) fn join_and_track(&mut self, topic: usize, key: usize) {
        self.clients.push(Client::new(TOPICS[topic]));
        self.track_in_join(self.clients.len() - 1, key);
    }

    /// The owner of a client, which is a new one, tracks; then the client gets its state.
    fn track_in_join(&mut self, which: usize, key: usize) {
        let owner = self.next_owner;
        self.next_owner += 1;
        self.step(|world| {
            let (now, client) = (world.now(), &mut world.clients[which]);
            client.owner = Some((owner, key));
            let topic = TOPICS.iter().position(|topic| *topic == client.topic).unwrap();
            world.here.run(owner, Operation::Track { topic, key, v: 0 }, now);
            world.send_state(which);
        });
    }

    /// Sends a client its state: what all others know, and its owner's own.
    fn send_state(&mut self, which: usize) {
        let client = &mut self.clients[which];
        let presences = &mut self.here.presences;
        let state = presences.state(client.topic);
        let Some((owner, _)) = client.owner else {
            return client.receive(&state.unwrap_or(PresenceEvent::empty_state()));
        };
        let own = presences.state_for(client.topic, Owner(owner));
        let (Some(state), Some(own)) = (&state, &own) else {
            assert_eq!(state, own);
            return client.receive(&PresenceEvent::empty_state());
        };
        if matches!(state, PresenceEvent::Count(_)) {
            assert_eq!(state, own);
            return client.receive(own);
        }
        let told = metas(&parse(state.json()));
        let mut expected = refs(&told);
        for ((topic, key, its_owner), phx_ref) in &self.here.truth {
            if *its_owner == owner && *topic == client.topic {
                expected.entry(key).or_default().insert(phx_ref.clone());
            }
        }
        assert_eq!(refs(&metas(&parse(own.json()))), expected);
        assert_eq!(own.json().matches(r#"{"metas":["#).count(), expected.len(), "a key twice");
        client.receive_own(own, &told);
        self.shown.extend(client.shown.iter().cloned());
    }

    /// The owner of a client does something.
    pub(super) fn run_of_client(&mut self, which: usize, operation: Operation) {
        let count = self.clients.len().max(1);
        let owner = self.clients.get(which % count).and_then(|client| client.owner);
        if let Some((owner, _)) = owner {
            self.run_here(owner, operation);
        }
    }

    /// A client is sent its state once more.
    pub(super) fn resend_state(&mut self, which: usize) {
        let which = which % self.clients.len().max(1);
        if self.clients.get(which).is_some_and(|client| client.is_connected) {
            self.step(|world| world.send_state(which));
        }
    }

    /// A client loses its connection, with which its owner ends; or comes back with what it had,
    /// and with a new owner. What was sent meanwhile it has missed.
    pub(super) fn disconnect_or_rejoin(&mut self, which: usize) {
        let which = which % self.clients.len().max(1);
        let Some(client) = self.clients.get_mut(which) else { return };
        let owner = client.owner;
        if client.is_connected {
            client.is_connected = false;
            if let Some((owner, _)) = owner {
                self.run_here(owner, Operation::Leave);
            }
            return;
        }
        client.rejoin();
        match owner {
            Some((_, key)) => self.track_in_join(which, key),
            None => self.send_state(which),
        }
    }

    pub(super) fn flush(&mut self, now_ms: u64) {
        let notices = self.here.presences.flush_due(now_ms);
        for Notice { topic, event } in notices {
            let is_begin = event == PresenceEvent::Begin;
            let is_one = |client: &&mut Client| {
                let is_one = client.is_connected && *client.topic == *topic;
                is_one && !(is_begin && client.was_told())
            };
            self.clients.iter_mut().filter(is_one).for_each(|client| client.receive(&event));
            if let PresenceEvent::Diff(json) = &event {
                let diff = parse(json);
                let side = |name| client::refs(&metas(&diff[name]));
                let both = &side("joins") & &side("leaves");
                assert!(both.is_subset(&self.shown), "told of what nobody knew");
            }
        }
        assert!(self.here.presences.next_due().is_none_or(|due| due > now_ms));
        self.check();
    }

    /// What is true on this node: the refs of each key of a topic.
    fn truth(&self, topic: &str) -> BTreeMap<&'static str, BTreeSet<String>> {
        let mut truth: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        let entries = self.here.truth.iter().chain(&self.heard);
        for ((_, key, _), phx_ref) in entries.filter(|((its, ..), _)| *its == topic) {
            truth.entry(key).or_default().insert(phx_ref.clone());
        }
        truth
    }

    /// Plugins see what is true, and each client what all of them know.
    fn check(&mut self) {
        let owners: BTreeSet<u64> = self.here.truth.keys().map(|(.., owner)| *owner).collect();
        assert_eq!(self.here.presences.owners.len(), owners.len(), "owners that track nothing");
        for topic in TOPICS {
            let truth = self.truth(topic);
            let list = metas(&parse(&self.here.presences.list(topic)));
            assert_eq!(refs(&list), truth, "{topic}");
            assert_eq!(self.here.presences.count(topic), truth.len());
            let state = self.here.presences.state(topic);
            let is_one = |client: &&Client| client.is_connected && client.topic == topic;
            let clients = self.clients.iter().filter(is_one);
            for client in clients {
                assert!(client.pending_diffs.is_empty(), "a diff before the state: {client:?}");
                match &state {
                    None => assert_eq!((&client.state, client.count), (&Metas::new(), None)),
                    Some(PresenceEvent::Count(json)) => {
                        assert_eq!(client.count, parse(json)["n"].as_u64());
                    }
                    Some(event) => {
                        assert!(client.is_synced && client.count.is_none());
                        let known = metas(&parse(event.json()));
                        assert!(client.has(known.clone()), "{client:?} of {known:?}");
                    }
                }
            }
        }
    }

    /// Tells clients everything: they know what is true then.
    pub(super) fn settle(&mut self) {
        self.flush(u64::MAX);
        assert_eq!(self.here.presences.next_due(), None);
        for topic in TOPICS {
            let truth = self.truth(topic);
            let resume_at = self.max_members - self.max_members.div_ceil(10);
            match self.here.presences.state(topic) {
                None => assert!(truth.is_empty()),
                Some(PresenceEvent::Count(json)) => {
                    assert_eq!(parse(&json)["n"], truth.len());
                    assert!(truth.len() > resume_at);
                }
                Some(event) => {
                    assert!(truth.len() <= self.max_members);
                    let known = metas(&parse(event.json()));
                    assert_eq!(refs(&known), truth);
                    assert_eq!(known, metas(&parse(&self.here.presences.list(topic))));
                }
            }
        }
    }

    /// Everybody leaves: nothing is left of them, here or with clients.
    pub(super) fn end(&mut self) {
        for owner in 0..self.next_owner {
            self.run_here(owner, Operation::Leave);
        }
        self.clients.iter_mut().for_each(|client| client.owner = None);
        self.forget(false);
        self.settle();
        let missing = (0..self.clients.len()).filter(|which| !self.clients[*which].is_connected);
        for which in missing.collect::<Vec<_>>() {
            self.disconnect_or_rejoin(which);
        }
        let presences = &self.here.presences;
        assert!(presences.topics.is_empty() && presences.owners.is_empty());
        assert!(presences.due.is_empty() && presences.local_ops.is_none());
        let is_empty = |client: &Client| client.state.is_empty() && client.shown.is_empty();
        assert!(self.clients.iter().all(is_empty));
    }
}
