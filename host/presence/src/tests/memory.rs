//! What one presence costs.

use std::mem::size_of;
use std::sync::Arc;

use smol_str::SmolStr;

use super::*;
use crate::member::Member;
use crate::presences::Tracked;

/// The counts of an `Arc` in front of its text, in bytes.
const ARC: usize = 16;
/// What an allocator adds to an allocation at most, in bytes.
const ALLOCATION: usize = 16;

/// The bytes of one presence when there are so many on one topic, and the share of them that the
/// text of the state has.
fn bytes_of_each(owners: usize) -> (usize, usize) {
    let mut presences = presences();
    let meta = format!(r#"{{"name":"{}"}}"#, "x".repeat(49));
    assert_eq!(meta.len(), 60);
    for owner in 0..owners {
        let (owner, key) = (Owner(owner as u64), format!("user:{owner}"));
        presences.track(owner, "now:a", &key, &meta, at(0)).unwrap();
    }
    flush_first(&mut presences, 0);
    let state = presences.state("now:a").unwrap().json().len();
    let names = presences.topics.keys().map(Arc::strong_count).sum::<usize>();
    assert_eq!(names, 1 + owners, "owners share the name of the topic");

    // A bucket of an index map has the hash beside key and value, and a place in its table. The
    // places of a table are a power of two, and at most 7/8 full; each has a byte of control.
    let places = |capacity: usize| (capacity * 8 / 7).next_power_of_two();
    let (members, tracked) = (presences.topics["now:a"].capacity(), presences.owners.capacity());
    let buckets = members * (size_of::<usize>() + size_of::<(SmolStr, Member)>());
    let table = places(members) * (size_of::<usize>() + 1);
    let tracked = places(tracked) * (size_of::<(Owner, Tracked)>() + 1);
    let metas = owners * (ARC + meta.len() + ALLOCATION);
    ((buckets + table + tracked + metas + state) / owners, state / owners)
}

#[test]
fn a_presence_takes_at_most_600_bytes() {
    // 490 bytes with 10,000 members. The most is when the tables have just grown.
    for owners in [10_000, 7_169, 14_337] {
        let (bytes, of_state) = bytes_of_each(owners);
        assert!(bytes <= 600, "{bytes} bytes of {owners}, {of_state} of them of the state");
    }
}

#[test]
fn a_rush_leaves_no_room_behind() {
    let mut presences = presences();
    for owner in 0..10_000 {
        track(&mut presences, owner, "now:a", &format!("user:{owner}"), 1);
        track(&mut presences, owner, &format!("now:{owner}"), "u", 1);
    }
    flush(&mut presences, 0);
    for owner in 1..10_000 {
        presences.leave(Owner(owner), at(0));
    }
    // A millisecond for each 100 members.
    assert_eq!(flush(&mut presences, 99).len(), 9_999);
    assert_eq!(presences.next_due(), Some(100));
    flush_one(&mut presences, 100);
    assert_eq!(presences.topics.len(), 2);
    assert!(presences.topics.capacity() <= 128, "{}", presences.topics.capacity());
    assert!(presences.owners.capacity() <= 128, "{}", presences.owners.capacity());
    let room = presences.topics["now:a"].capacity();
    assert!(room <= 128, "{room}");
}
