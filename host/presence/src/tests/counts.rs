//! Topics with more members than clients are told by name.

use serde_json::json;

use super::*;

/// Tracks keys with these numbers, each by an owner of its own.
fn come(presences: &mut Presences, keys: std::ops::Range<u64>, now_ms: u64) {
    for key in keys {
        presences.track(Owner(key), "few:a", &key.to_string(), "{}", at(now_ms)).unwrap();
    }
}

fn go(presences: &mut Presences, keys: std::ops::Range<u64>, now_ms: u64) {
    for key in keys {
        assert_eq!(presences.leave(Owner(key), at(now_ms)), 1);
    }
}

#[test]
fn above_the_bound_clients_get_a_number_and_at_90_percent_everybody_again() {
    let mut presences = presences();
    come(&mut presences, 0..10, 0);
    assert_eq!(flush_first(&mut presences, 0).0, "presence_diff");
    come(&mut presences, 10..11, 0);
    assert_eq!(flush_one(&mut presences, 0), ("presence_count", json!({ "n": 11 })));
    assert_eq!(state(&mut presences, "few:a"), Some(json!({ "n": 11 })));
    assert_eq!(list(&presences, "few:a").as_object().unwrap().len(), 11);

    // Counts wait for a second, and those who come meanwhile get what all others know.
    go(&mut presences, 0..1, 500);
    assert_eq!(presences.next_due(), Some(1_500));
    assert_eq!(state(&mut presences, "few:a"), Some(json!({ "n": 11 })));
    assert_eq!(flush_one(&mut presences, 1_500), ("presence_count", json!({ "n": 10 })));
    go(&mut presences, 1..2, 2_000);
    let (event, payload) = flush_one(&mut presences, 3_000);
    assert_eq!(event, "presence_state");
    assert_eq!(payload, list(&presences, "few:a"));
    come(&mut presences, 0..1, 3_000);
    assert_eq!(flush_one(&mut presences, 3_000).0, "presence_diff");
}

#[test]
fn a_number_is_sent_only_if_it_is_another() {
    let mut presences = presences();
    come(&mut presences, 0..12, 0);
    assert_eq!(flush_first(&mut presences, 0), ("presence_count", json!({ "n": 12 })));
    go(&mut presences, 0..1, 10);
    come(&mut presences, 20..21, 10);
    presences.update(Owner(5), "few:a", "5", "{}", at(10)).unwrap();
    // A second meta of a key is no other member.
    presences.track(Owner(99), "few:a", "5", "{}", at(10)).unwrap();
    assert_eq!(presences.next_due(), Some(1_010));
    assert_eq!(flush(&mut presences, 1_010), []);
    assert_eq!(presences.next_due(), None);
    assert_eq!(presences.count("few:a"), 12);
}

#[test]
fn a_topic_that_empties_while_it_is_counted_ends_with_an_empty_state() {
    let mut presences = presences();
    come(&mut presences, 0..12, 0);
    flush_first(&mut presences, 0);
    go(&mut presences, 0..12, 10);
    assert_eq!(flush_one(&mut presences, 1_010), ("presence_state", json!({})));
    assert_eq!(state(&mut presences, "few:a"), None);
    assert!(presences.topics.is_empty());
}

#[test]
fn the_bound_to_come_back_is_90_percent_rounded_down() {
    for (max_members, resume_at) in [(0, 0), (1, 0), (5, 4), (10, 9), (16_384, 14_745)] {
        let settings = TopicSettings { window_ms: 0, max_members };
        assert_eq!(settings.resume_at(), resume_at);
    }
}
