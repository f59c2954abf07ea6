//! Two nodes that tell each other what they have.

use serde_json::json;

use super::*;
use crate::{Node, Op};

const OTHER: Node = Node(2);

/// Hands over what the other node has done since the last time.
fn exchange(from: &mut Presences, to: &mut Presences, now_ms: u64) {
    let taken = from.take_local_ops();
    assert!(!taken.lost);
    to.apply_remote(OTHER, taken.ops, at(now_ms));
}

/// This node and another, whose operations are kept.
fn two() -> (Presences, Presences) {
    let mut other = presences();
    assert!(other.take_local_ops().lost);
    (presences(), other)
}

#[test]
fn entries_of_another_node_are_told_with_its_refs() {
    let (mut here, mut other) = two();
    let own = track(&mut here, 1, "now:a", "u1", 1);
    flush_first(&mut here, 0);
    let theirs = track(&mut other, 1, "now:a", "u1", 2);
    exchange(&mut other, &mut here, 0);
    let joins = json!({ "u1": { "metas": [seen(theirs, 2)] } });
    assert_eq!(flush_one(&mut here, 0), joined(&joins));
    let new = update(&mut other, 1, "now:a", "u1", 3);
    exchange(&mut other, &mut here, 0);
    let joins = json!({ "u1": { "metas": [seen_after(theirs, new, 3)] } });
    let leaves = json!({ "u1": { "metas": [seen(theirs, 2)] } });
    assert_eq!(
        flush_one(&mut here, 0),
        ("presence_diff", json!({ "joins": joins, "leaves": leaves }))
    );
    other.leave(Owner(1), at(0));
    exchange(&mut other, &mut here, 0);
    flush_one(&mut here, 0);
    assert_eq!(list(&here, "now:a"), json!({ "u1": { "metas": [seen(own, 1)] } }));
}

#[test]
fn operations_that_are_applied_again_change_nothing() {
    let (mut here, mut other) = two();
    track(&mut other, 1, "now:a", "u1", 1);
    update(&mut other, 1, "now:a", "u1", 2);
    track(&mut other, 2, "now:a", "u1", 3);
    other.untrack(Owner(2), "now:a", "u1", at(0));
    let ops = other.take_local_ops().ops;
    here.apply_remote(OTHER, ops.clone(), at(0));
    flush_first(&mut here, 0);
    let before = list(&here, "now:a");
    let last: Vec<Op> = ops.last().cloned().into_iter().collect();
    here.apply_remote(OTHER, last, at(0));
    here.apply_remote(OTHER, other.local_entries(), at(0));
    assert_eq!(flush(&mut here, 0), []);
    assert_eq!(list(&here, "now:a"), before);
}

#[test]
fn a_node_that_has_gone_leaves_each_topic_in_one_diff() {
    let (mut here, mut other) = two();
    track(&mut here, 1, "now:a", "u1", 1);
    for (owner, topic) in [(1, "now:a"), (2, "now:a"), (3, "now:b")] {
        track(&mut other, owner, topic, &format!("v{owner}"), 1);
    }
    exchange(&mut other, &mut here, 0);
    flush(&mut here, 0);
    here.forget_node(OTHER, at(0));
    here.forget_node(Node(3), at(0));
    let notices = flush(&mut here, 0);
    assert_eq!(notices.len(), 2, "{notices:?}");
    assert_eq!(notices[0].2["leaves"].as_object().unwrap().len(), 2);
    assert_eq!(here.count("now:a"), 1);
    assert_eq!(here.topics.len(), 1);
}

#[test]
fn a_node_that_reconnects_inside_a_window_is_not_noticed() {
    let (mut here, mut other) = two();
    let stays = track(&mut other, 1, "later:a", "u1", 1);
    let goes = track(&mut other, 2, "later:a", "u2", 2);
    exchange(&mut other, &mut here, 0);
    assert_eq!(here.next_due(), Some(0));
    assert_eq!(flush_one(&mut here, 0), ("presence_state", json!({})));
    flush_one(&mut here, 100);
    other.leave(Owner(2), at(100));
    here.forget_node(OTHER, at(100));
    assert_eq!(here.count("later:a"), 0);
    here.apply_remote(OTHER, other.local_entries(), at(150));
    let leaves = json!({ "u2": { "metas": [seen(goes, 2)] } });
    let diff = json!({ "joins": {}, "leaves": leaves });
    assert_eq!(flush_one(&mut here, 200), ("presence_diff", diff));
    assert_eq!(list(&here, "later:a"), json!({ "u1": { "metas": [seen(stays, 1)] } }));
}

#[test]
fn a_snapshot_has_what_this_node_has_and_nothing_of_others() {
    let (mut here, mut other) = two();
    let old = track(&mut here, 1, "now:b", "u1", 1);
    flush(&mut here, 0);
    let new = update(&mut here, 1, "now:b", "u1", 2);
    let first = track(&mut here, 1, "now:a", "u1", 3);
    track(&mut other, 1, "now:a", "u1", 4);
    exchange(&mut other, &mut here, 0);
    let snapshot = here.local_entries();
    let refs: Vec<PhxRef> = snapshot.iter().map(|op| op.phx_ref).collect();
    assert_eq!(refs, [first, new]);
    let mut third = presences();
    third.apply_remote(Node(1), snapshot, at(0));
    let everybody = json!({ "u1": { "metas": [seen_after(old, new, 2)] } });
    assert_eq!(list(&third, "now:b"), everybody);
}

#[test]
fn operations_that_nobody_takes_are_not_kept_without_bound() {
    let limits = Limits { max_local_ops: 2, ..Limits::default() };
    let mut presences = presences_with(limits);
    track(&mut presences, 1, "now:a", "u1", 1);
    let first = presences.take_local_ops();
    assert!(first.lost && first.ops.is_empty());
    update(&mut presences, 1, "now:a", "u1", 2);
    update(&mut presences, 1, "now:a", "u1", 3);
    let taken = presences.take_local_ops();
    assert_eq!((taken.ops.len(), taken.lost), (2, false));
    for v in 0..3 {
        update(&mut presences, 1, "now:a", "u1", v);
    }
    let taken = presences.take_local_ops();
    assert_eq!((taken.ops.len(), taken.lost), (1, true));
    assert!(!presences.take_local_ops().lost);
}
