//! Tests of what clients, plugins and other nodes make of a shard's presences.

mod client;
mod counts;
mod memory;
mod nodes;
mod operations;
mod properties;
mod shown;
mod world;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{Limits, Notice, Now, Owner, PhxRef, PresenceEvent, Presences, TopicSettings};

/// A shard whose topics are `now:*` with a window of 0, `later:*` with one of 100 ms, and `few:*`
/// with a window of 0 and at most 10 members.
fn presences() -> Presences {
    presences_with(Limits::default())
}

fn presences_with(limits: Limits) -> Presences {
    let choose = |topic: &str| match topic.split(':').next() {
        Some("later") => TopicSettings { window_ms: 100, ..TopicSettings::default() },
        Some("few") => TopicSettings { max_members: 10, ..TopicSettings::default() },
        _ => TopicSettings::default(),
    };
    Presences::new(limits, 7, Arc::new(choose))
}

fn at(ms: u64) -> Now {
    Now { ms, unix_ns: ms * 1_000_000 }
}

/// Tracks the key `key` of `topic` with the meta `{"v":v}` at the time 0.
fn track(presences: &mut Presences, owner: u64, topic: &str, key: &str, v: u32) -> PhxRef {
    presences.track(Owner(owner), topic, key, &meta(v), at(0)).unwrap()
}

fn update(presences: &mut Presences, owner: u64, topic: &str, key: &str, v: u32) -> PhxRef {
    presences.update(Owner(owner), topic, key, &meta(v), at(0)).unwrap()
}

fn meta(v: u32) -> String {
    json!({ "v": v }).to_string()
}

/// A meta as clients have it.
fn seen(phx_ref: PhxRef, v: u32) -> Value {
    json!({ "phx_ref": phx_ref.to_string(), "v": v })
}

/// A meta that was updated, as clients have it.
fn seen_after(prev: PhxRef, phx_ref: PhxRef, v: u32) -> Value {
    json!({ "phx_ref": phx_ref.to_string(), "phx_ref_prev": prev.to_string(), "v": v })
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

/// What is due at a time: topic, event and payload of each notice.
fn flush(presences: &mut Presences, now_ms: u64) -> Vec<(String, &'static str, Value)> {
    let notices = presences.flush_due(now_ms).into_iter();
    let shown =
        |Notice { topic, event }: Notice| (topic.to_string(), event.name(), parse(event.json()));
    notices.map(shown).collect()
}

/// The one notice that is due at a time.
fn flush_one(presences: &mut Presences, now_ms: u64) -> (&'static str, Value) {
    let mut notices = flush(presences, now_ms);
    assert_eq!(notices.len(), 1, "{notices:?}");
    let (_, event, payload) = notices.remove(0);
    (event, payload)
}

/// The one notice that is due at a time besides that the topic begins, which is before it.
fn flush_first(presences: &mut Presences, now_ms: u64) -> (&'static str, Value) {
    let mut notices = presences.flush_due(now_ms);
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert_eq!(notices[0].event, PresenceEvent::Begin);
    let Notice { event, .. } = notices.remove(1);
    (event.name(), parse(event.json()))
}

/// A diff with joins alone.
fn joined(joins: &Value) -> (&'static str, Value) {
    ("presence_diff", json!({ "joins": joins, "leaves": {} }))
}

/// The state that a newcomer is sent.
fn state(presences: &mut Presences, topic: &str) -> Option<Value> {
    presences.state(topic).map(|event| parse(event.json()))
}

fn list(presences: &Presences, topic: &str) -> Value {
    parse(&presences.list(topic))
}
