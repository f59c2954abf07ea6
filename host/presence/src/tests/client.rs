//! A client that keeps presences as the `Presence` class of phoenix.js does.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::parse;
use crate::PresenceEvent;

/// Metas by key, in the client's order.
pub(super) type Metas = BTreeMap<String, Vec<Value>>;

/// A client of one topic.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) topic: &'static str,
    /// The owner that tracks in its join, and under which key, if it has one.
    pub(super) owner: Option<(u64, usize)>,
    pub(super) state: Metas,
    /// The refs that it was shown as its own, before all are told of them.
    pub(super) shown: BTreeSet<String>,
    /// Whether a state has come since it has joined last.
    pub(super) is_synced: bool,
    /// Whether it has missed no change, so that it has all metas as states have them. One that has
    /// keeps those whose refs are still there as and where they are; a ref of another node may have
    /// left and come again since then, behind others and with another `phx_ref_prev`.
    pub(super) is_exact: bool,
    /// Whether it gets what is sent.
    pub(super) is_connected: bool,
    /// Diffs that wait for the state.
    pub(super) pending_diffs: Vec<Value>,
    /// The number of members, while that is all it is told.
    pub(super) count: Option<u64>,
}

impl Client {
    pub(super) fn new(topic: &'static str) -> Self {
        Self {
            topic,
            owner: None,
            state: Metas::new(),
            shown: BTreeSet::new(),
            is_synced: false,
            is_exact: true,
            is_connected: true,
            pending_diffs: Vec::new(),
            count: None,
        }
    }

    /// It joins anew, with all that it has.
    pub(super) fn rejoin(&mut self) {
        self.is_synced = false;
        self.is_connected = true;
        self.count = None;
    }

    /// Whether it has had a state or a count since it has joined last.
    pub(super) fn was_told(&self) -> bool {
        self.is_synced || self.count.is_some()
    }

    /// Whether it has just these metas, besides those that it was shown.
    pub(super) fn has(&self, mut metas: Metas) -> bool {
        let mut own = self.state.clone();
        for metas in own.values_mut() {
            metas.retain(|meta| !self.shown.contains(ref_of(meta)));
        }
        own.retain(|_, metas| !metas.is_empty());
        if !self.is_exact {
            for metas in own.values_mut().chain(metas.values_mut()) {
                for meta in &mut *metas {
                    meta.as_object_mut().unwrap().remove("phx_ref_prev");
                }
                metas.sort_by_key(|meta| meta["phx_ref"].to_string());
            }
        }
        own == metas
    }

    pub(super) fn receive(&mut self, event: &PresenceEvent) {
        let payload = parse(event.json());
        match event {
            PresenceEvent::Begin | PresenceEvent::State(_) => {
                self.is_synced = true;
                self.shown.clear();
                self.count = None;
                self.is_exact = self.state.is_empty();
                sync_state(&mut self.state, &metas(&payload));
                for diff in std::mem::take(&mut self.pending_diffs) {
                    sync_diff(&mut self.state, &metas(&diff["joins"]), &metas(&diff["leaves"]));
                }
            }
            PresenceEvent::Diff(_) if !self.is_synced => self.pending_diffs.push(payload),
            PresenceEvent::Diff(_) => {
                let (joins, leaves) = (metas(&payload["joins"]), metas(&payload["leaves"]));
                self.check_diff(&joins, &leaves);
                sync_diff(&mut self.state, &joins, &leaves);
            }
            PresenceEvent::Count(_) => {
                self.shown.clear();
                self.count = Some(payload["n"].as_u64().unwrap());
            }
        }
    }

    /// Takes what it is sent at its join, where others have been told of these metas.
    pub(super) fn receive_own(&mut self, event: &PresenceEvent, told: &Metas) {
        self.receive(event);
        if let PresenceEvent::State(json) = event {
            self.shown = &refs(&metas(&parse(json))) - &refs(told);
        }
    }

    /// A diff has what changes for this client, and nothing else but what was shown to a client: to
    /// this one what it has, which joins once more, to others what leaves with the same diff.
    fn check_diff(&mut self, joins: &Metas, leaves: &Metas) {
        let joined = refs(joins);
        let shown = std::mem::take(&mut self.shown);
        assert!(shown.is_subset(&joined), "shown, and not told: {self:?}");
        assert!(!joins.is_empty() || !leaves.is_empty(), "an empty diff");
        let has = |key: &String, meta: &Value| {
            self.state.get(key).is_some_and(|metas| has_ref(metas, meta))
        };
        for (key, metas) in joins {
            let is_twice = |meta| has(key, meta) && !shown.contains(ref_of(meta));
            assert!(!metas.iter().any(is_twice), "joined twice: {key}");
        }
        for (key, metas) in leaves {
            let was_there = |meta| has(key, meta) || joined.contains(ref_of(meta));
            assert!(metas.iter().all(was_there), "left, and was not there: {key}");
        }
    }
}

/// The metas of a payload; every key has some.
pub(super) fn metas(payload: &Value) -> Metas {
    let members = payload.as_object().unwrap().iter();
    let metas = |(key, member): (&String, &Value)| {
        let metas = member["metas"].as_array().unwrap().clone();
        assert!(!metas.is_empty() && metas.iter().all(|meta| meta["phx_ref"].is_string()));
        (key.clone(), metas)
    };
    members.map(metas).collect()
}

fn ref_of(meta: &Value) -> &str {
    meta["phx_ref"].as_str().unwrap()
}

/// The refs of all metas.
pub(super) fn refs(metas: &Metas) -> BTreeSet<String> {
    metas.values().flatten().map(|meta| ref_of(meta).to_owned()).collect()
}

fn has_ref(metas: &[Value], meta: &Value) -> bool {
    metas.iter().any(|own| own["phx_ref"] == meta["phx_ref"])
}

/// The metas of the first that are not in the second.
fn without(metas: &[Value], others: &[Value]) -> Vec<Value> {
    metas.iter().filter(|meta| !has_ref(others, meta)).cloned().collect()
}

/// Takes a whole state by what it changes, so that metas that stay keep their place.
fn sync_state(state: &mut Metas, new: &Metas) {
    let difference = |one: &Metas, other: &Metas| {
        let none = Vec::new();
        let mut found = Metas::new();
        for (key, metas) in one {
            let metas = without(metas, other.get(key).unwrap_or(&none));
            if !metas.is_empty() {
                found.insert(key.clone(), metas);
            }
        }
        found
    };
    let (joins, leaves) = (difference(new, state), difference(state, new));
    sync_diff(state, &joins, &leaves);
}

/// Joins first, behind the metas that are there; then leaves, by ref.
fn sync_diff(state: &mut Metas, joins: &Metas, leaves: &Metas) {
    for (key, joined) in joins {
        let own = state.entry(key.clone()).or_default();
        *own = without(own, joined);
        own.extend(joined.iter().cloned());
    }
    for (key, left) in leaves {
        let Some(own) = state.get_mut(key) else { continue };
        *own = without(own, left);
        if own.is_empty() {
            state.remove(key);
        }
    }
}
