//! Clients that find themselves in the state of their join, before others are told.

use serde_json::json;

use super::*;

/// The state that a client is sent whose owner has tracked.
fn state_for(presences: &mut Presences, topic: &str, owner: u64) -> Option<Value> {
    presences.state_for(topic, Owner(owner)).map(|event| parse(event.json()))
}

/// A diff with these joins and leaves of `u1`.
fn diff_of_u1(joins: &[Value], leaves: &[Value]) -> (&'static str, Value) {
    let side = |metas: &[Value]| match metas {
        [] => json!({}),
        metas => json!({ "u1": { "metas": metas } }),
    };
    ("presence_diff", json!({ "joins": side(joins), "leaves": side(leaves) }))
}

#[test]
fn the_state_has_what_its_owner_is_joining_with_and_nothing_of_others() {
    let mut presences = presences();
    assert_eq!(state_for(&mut presences, "later:a", 1), None);
    let one = track(&mut presences, 1, "later:a", "u1", 1);
    track(&mut presences, 2, "later:a", "u2", 2);
    let own = json!({ "u1": { "metas": [seen(one, 1)] } });
    for _ in 0..2 {
        assert_eq!(state_for(&mut presences, "later:a", 1), Some(own.clone()));
        assert_eq!(state(&mut presences, "later:a"), Some(json!({})));
    }
    let (event, payload) = flush_first(&mut presences, 100);
    assert_eq!((event, &payload["joins"]), ("presence_diff", &list(&presences, "later:a")));
    assert_eq!(payload["leaves"], json!({}));

    // Two keys, beside what all know; those of other topics are not in it.
    track(&mut presences, 3, "later:a", "u3", 3);
    track(&mut presences, 3, "later:a", "u4", 4);
    track(&mut presences, 3, "later:b", "u5", 5);
    track(&mut presences, 4, "later:a", "u6", 6);
    let state = state_for(&mut presences, "later:a", 3).unwrap();
    let keys: Vec<&String> = state.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["u1", "u2", "u3", "u4"]);
}

#[test]
fn a_key_that_clients_know_has_the_new_meta_behind_the_others() {
    let mut presences = presences();
    let one = track(&mut presences, 1, "later:a", "u1", 1);
    flush_first(&mut presences, 100);
    track(&mut presences, 2, "later:a", "u1", 2);
    let own = track(&mut presences, 3, "later:a", "u1", 3);
    track(&mut presences, 3, "later:a", "u2", 3);
    presences.leave(Owner(1), at(0));
    let state = state_for(&mut presences, "later:a", 3).unwrap();
    assert_eq!(state["u1"]["metas"], json!([seen(one, 1), seen(own, 3)]));
    assert_eq!(state.as_object().unwrap().len(), 2);
}

#[test]
fn who_has_nothing_that_joins_gets_the_text_of_all() {
    let mut presences = presences();
    track(&mut presences, 1, "later:a", "u1", 1);
    flush_first(&mut presences, 100);
    track(&mut presences, 2, "later:a", "u2", 1);
    let text = presences.state("later:a").unwrap();
    for owner in [1, 3] {
        let own = presences.state_for("later:a", Owner(owner)).unwrap();
        assert_eq!(own.json().as_ptr(), text.json().as_ptr());
    }
}

#[test]
fn what_was_shown_and_leaves_is_told_as_a_join_and_a_leave() {
    let mut presences = presences();
    let one = track(&mut presences, 1, "later:a", "u1", 1);
    state_for(&mut presences, "later:a", 1);
    assert_eq!(presences.leave(Owner(1), at(10)), 1);
    assert_eq!(presences.leave(Owner(1), at(10)), 0);
    assert_eq!((presences.count("later:a"), list(&presences, "later:a")), (0, json!({})));
    assert_eq!(presences.get("later:a", "u1"), None);
    assert!(presences.local_entries().is_empty());
    assert_eq!(state(&mut presences, "later:a"), Some(json!({})));
    let gone = [seen(one, 1)];
    assert_eq!(flush_first(&mut presences, 100), diff_of_u1(&gone, &gone));
    assert!(presences.topics.is_empty() && presences.next_due().is_none());
}

#[test]
fn an_update_of_what_was_shown_names_it_and_lets_it_leave() {
    let mut presences = presences();
    let one = track(&mut presences, 1, "later:a", "u1", 1);
    state_for(&mut presences, "later:a", 1);
    // What was never shown is never told.
    update(&mut presences, 1, "later:a", "u1", 2);
    let last = update(&mut presences, 1, "later:a", "u1", 3);
    assert_eq!(presences.count("later:a"), 1);
    // A client that is sent its state once more takes the last for the first.
    let metas = json!({ "u1": { "metas": [seen_after(one, last, 3)] } });
    assert_eq!(state_for(&mut presences, "later:a", 1), Some(metas.clone()));
    let joins = [seen(one, 1), seen_after(one, last, 3)];
    assert_eq!(flush_first(&mut presences, 100), diff_of_u1(&joins, &joins[..1]));
    assert_eq!(state(&mut presences, "later:a"), Some(metas));

    // From then on it is as all others are.
    let next = update(&mut presences, 1, "later:a", "u1", 4);
    let joins = [seen_after(last, next, 4)];
    let leaves = [seen_after(one, last, 3)];
    assert_eq!(flush_one(&mut presences, 100), diff_of_u1(&joins, &leaves));
}

#[test]
fn a_key_that_was_shown_may_be_tracked_again_before_the_diff() {
    let mut presences = presences();
    let one = track(&mut presences, 1, "later:a", "u1", 1);
    state_for(&mut presences, "later:a", 1);
    assert!(presences.untrack(Owner(1), "later:a", "u1", at(10)));
    let two = track(&mut presences, 1, "later:a", "u1", 2);
    let (one, two) = (seen(one, 1), seen(two, 2));
    let diff = diff_of_u1(&[one.clone(), two], &[one]);
    assert_eq!(flush_first(&mut presences, 100), diff);
}

#[test]
fn what_was_shown_has_its_place_until_the_diff() {
    let limits = Limits { max_metas_per_key: 2, ..Limits::default() };
    let mut presences = presences_with(limits);
    for owner in 0..2 {
        track(&mut presences, owner, "later:a", "u1", 1);
        state_for(&mut presences, "later:a", owner);
        presences.leave(Owner(owner), at(0));
    }
    let error = crate::PresenceError::TooManyMetas { allowed: 2 };
    assert_eq!(presences.track(Owner(2), "later:a", "u1", "{}", at(0)), Err(error));
    flush_first(&mut presences, 100);
    track(&mut presences, 2, "later:a", "u1", 1);
}

#[test]
fn a_number_is_for_all_alike() {
    let mut presences = presences();
    for owner in 0..11 {
        track(&mut presences, owner, "few:a", &owner.to_string(), 1);
    }
    // The state is empty until the first flush.
    let own = state_for(&mut presences, "few:a", 3).unwrap();
    assert_eq!(own.as_object().unwrap().len(), 1);
    assert_eq!(flush_first(&mut presences, 0), ("presence_count", json!({ "n": 11 })));
    track(&mut presences, 20, "few:a", "20", 1);
    assert_eq!(state_for(&mut presences, "few:a", 20), Some(json!({ "n": 11 })));
    // It was not shown, so it goes untold.
    presences.leave(Owner(20), at(0));
    assert_eq!(presences.next_due(), None);
}
