//! Each operation: what is true then, and what clients are told.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::PresenceError;

#[test]
fn a_topic_begins_with_the_empty_state_and_every_change_is_a_diff() {
    let mut presences = presences();
    assert_eq!(state(&mut presences, "now:a"), None);
    let one = presences.track(Owner(1), "now:a", "u1", &meta(1), at(5)).unwrap();
    assert_eq!(presences.next_due(), Some(5));
    assert_eq!(state(&mut presences, "now:a"), Some(json!({})));
    let everybody = json!({ "u1": { "metas": [seen(one, 1)] } });
    assert_eq!(list(&presences, "now:a"), everybody);
    assert_eq!(flush(&mut presences, 4), []);
    assert_eq!(flush_first(&mut presences, 5), joined(&everybody));
    assert_eq!(state(&mut presences, "now:a"), Some(everybody));
    assert_eq!(presences.next_due(), None);

    let two = track(&mut presences, 2, "now:a", "u2", 2);
    let joins = json!({ "u2": { "metas": [seen(two, 2)] } });
    assert_eq!(flush_one(&mut presences, 0), joined(&joins));

    assert!(presences.untrack(Owner(1), "now:a", "u1", at(0)));
    let leaves = json!({ "joins": {}, "leaves": { "u1": { "metas": [seen(one, 1)] } } });
    assert_eq!(flush_one(&mut presences, 0), ("presence_diff", leaves));
}

#[test]
fn a_topic_that_was_empty_begins_anew() {
    let mut presences = presences();
    track(&mut presences, 1, "now:a", "u1", 1);
    flush_first(&mut presences, 0);
    assert_eq!(presences.leave(Owner(1), at(0)), 1);
    assert_eq!(flush_one(&mut presences, 0).0, "presence_diff");
    assert_eq!(state(&mut presences, "now:a"), None);
    track(&mut presences, 1, "now:a", "u1", 1);
    assert_eq!(flush_first(&mut presences, 0).0, "presence_diff");
}

#[test]
fn a_topic_begins_at_once_whatever_its_window_is() {
    let mut presences = presences();
    let one = presences.track(Owner(1), "later:a", "u1", &meta(1), at(5)).unwrap();
    assert_eq!(presences.next_due(), Some(5));
    assert_eq!(presences.flush_due(7)[0].event, PresenceEvent::Begin);
    assert_eq!(state(&mut presences, "later:a"), Some(json!({})));
    assert_eq!(presences.next_due(), Some(105));
    let joins = json!({ "u1": { "metas": [seen(one, 1)] } });
    assert_eq!(flush_one(&mut presences, 105), joined(&joins));
}

#[test]
fn a_topic_that_ends_before_clients_heard_of_it_is_not_told_of() {
    let mut presences = presences();
    for topic in ["now:a", "later:a"] {
        track(&mut presences, 1, topic, "u1", 1);
        assert_eq!(presences.leave(Owner(1), at(0)), 1);
        assert_eq!(presences.next_due(), None);
        assert_eq!(state(&mut presences, topic), None);
    }
    assert_eq!(flush(&mut presences, 1_000), []);
    // One that has begun ends as silently.
    track(&mut presences, 1, "later:a", "u1", 1);
    assert_eq!(flush_one(&mut presences, 0), ("presence_state", json!({})));
    presences.leave(Owner(1), at(10));
    assert_eq!(presences.next_due(), None);
    assert!(presences.topics.is_empty());
}

#[test]
fn what_waits_in_a_window_is_true_and_not_known() {
    let mut presences = presences();
    let one = track(&mut presences, 1, "later:a", "u1", 1);
    flush_first(&mut presences, 100);
    let known = json!({ "u1": { "metas": [seen(one, 1)] } });

    let now = at(250);
    presences.untrack(Owner(1), "later:a", "u1", now);
    let two = presences.track(Owner(2), "later:a", "u2", &meta(2), now).unwrap();
    assert_eq!(presences.next_due(), Some(350));
    assert_eq!(state(&mut presences, "later:a"), Some(known.clone()));
    let everybody = json!({ "u2": { "metas": [seen(two, 2)] } });
    assert_eq!(list(&presences, "later:a"), everybody);
    assert_eq!(presences.get("later:a", "u1"), None);
    let metas = json!({ "metas": [seen(two, 2)] });
    assert_eq!(parse(&presences.get("later:a", "u2").unwrap()), metas);
    assert_eq!(presences.count("later:a"), 1);

    assert_eq!(flush(&mut presences, 349), []);
    let diff = json!({ "joins": everybody, "leaves": known });
    assert_eq!(flush_one(&mut presences, 350), ("presence_diff", diff));
    assert_eq!(state(&mut presences, "later:a"), Some(everybody));
}

#[test]
fn a_join_and_a_leave_inside_one_window_are_never_told() {
    let mut presences = presences();
    track(&mut presences, 1, "later:a", "u1", 1);
    presences.leave(Owner(1), at(10));
    assert_eq!(presences.next_due(), None);
    assert!(presences.topics.is_empty());

    track(&mut presences, 1, "later:a", "u1", 1);
    flush_first(&mut presences, 100);
    track(&mut presences, 2, "later:a", "u2", 1);
    update(&mut presences, 2, "later:a", "u2", 2);
    assert!(presences.untrack(Owner(2), "later:a", "u2", at(0)));
    assert!(!presences.untrack(Owner(2), "later:a", "u2", at(0)));
    assert_eq!(presences.next_due(), None);
    assert_eq!(flush(&mut presences, 1000), []);
}

#[test]
fn an_update_is_a_join_that_names_the_old_ref_and_a_leave() {
    let mut presences = presences();
    let old = track(&mut presences, 1, "now:a", "u1", 1);
    let other = track(&mut presences, 2, "now:a", "u1", 5);
    flush_first(&mut presences, 0);
    let new = update(&mut presences, 1, "now:a", "u1", 2);
    assert!(new > other && other > old);
    let diff = json!({
        "joins": { "u1": { "metas": [seen_after(old, new, 2)] } },
        "leaves": { "u1": { "metas": [seen(old, 1)] } },
    });
    assert_eq!(flush_one(&mut presences, 0), ("presence_diff", diff));
    // Behind the meta of another owner, as it is for clients.
    let everybody = json!({ "u1": { "metas": [seen(other, 5), seen_after(old, new, 2)] } });
    assert_eq!(state(&mut presences, "now:a"), Some(everybody));
}

#[test]
fn an_update_of_what_clients_do_not_know_takes_its_place() {
    let mut presences = presences();
    track(&mut presences, 1, "later:a", "u1", 1);
    let second = update(&mut presences, 1, "later:a", "u1", 2);
    let first_state = json!({ "u1": { "metas": [seen(second, 2)] } });
    assert_eq!(flush_first(&mut presences, 100), joined(&first_state));
    // Twice in a window: the ref before is the one that clients know.
    update(&mut presences, 1, "later:a", "u1", 3);
    let last = update(&mut presences, 1, "later:a", "u1", 4);
    let diff = json!({
        "joins": { "u1": { "metas": [seen_after(second, last, 4)] } },
        "leaves": { "u1": { "metas": [seen(second, 2)] } },
    });
    assert_eq!(flush_one(&mut presences, 100), ("presence_diff", diff));
    // And one that leaves then leaves as what clients know.
    update(&mut presences, 1, "later:a", "u1", 5);
    presences.leave(Owner(1), at(0));
    let leaves = json!({ "u1": { "metas": [seen_after(second, last, 4)] } });
    let diff = json!({ "joins": {}, "leaves": leaves });
    assert_eq!(flush_one(&mut presences, 100), ("presence_diff", diff));
}

#[test]
fn an_owner_leaves_all_its_topics() {
    let mut presences = presences();
    for topic in ["now:a", "now:b", "later:a"] {
        track(&mut presences, 1, topic, "u1", 1);
        track(&mut presences, 2, topic, "u1", 1);
    }
    flush(&mut presences, 100);
    assert_eq!(presences.leave(Owner(1), at(100)), 3);
    assert_eq!(presences.leave(Owner(1), at(100)), 0);
    let told = |notices: Vec<(String, &str, Value)>| {
        notices.into_iter().map(|(topic, ..)| topic).collect::<Vec<_>>()
    };
    assert_eq!(told(flush(&mut presences, 100)), ["now:a", "now:b"]);
    assert_eq!(told(flush(&mut presences, 200)), ["later:a"]);
    assert_eq!(presences.count("now:a"), 1);
}

#[test]
fn what_is_not_allowed_is_refused_and_changes_nothing() {
    let limits = Limits {
        max_key_bytes: 4,
        max_meta_bytes: 7,
        max_metas_per_key: 2,
        max_keys_per_owner: 2,
        ..Limits::default()
    };
    let mut presences = presences_with(limits);
    let mut try_track =
        |owner, key, meta| presences.track(Owner(owner), "now:a", key, meta, at(0)).map(|_| ());
    use PresenceError as Error;
    assert_eq!(try_track(1, "", "{}"), Err(Error::KeyEmpty));
    assert_eq!(try_track(1, "abcde", "{}"), Err(Error::KeyTooLong { found: 5, allowed: 4 }));
    let too_large = Error::MetaTooLarge { found: 8, allowed: 7 };
    assert_eq!(try_track(1, "u", r#"{"v":12}"#), Err(too_large.clone()));
    assert!(matches!(try_track(1, "u", "[]"), Err(Error::MetaNotObject { .. })));
    assert_eq!(try_track(1, "u", "{}"), Ok(()));
    assert_eq!(try_track(1, "u", "{}"), Err(Error::AlreadyTracked));
    assert_eq!(try_track(1, "v", "{}"), Ok(()));
    assert_eq!(try_track(1, "w", "{}"), Err(Error::TooManyKeys { allowed: 2 }));
    assert_eq!(try_track(2, "u", "{}"), Ok(()));
    assert_eq!(try_track(3, "u", "{}"), Err(Error::TooManyMetas { allowed: 2 }));
    let before = list(&presences, "now:a");
    let mut try_update =
        |owner, key, meta| presences.update(Owner(owner), "now:a", key, meta, at(0)).map(|_| ());
    assert_eq!(try_update(3, "u", "{}"), Err(Error::NotTracked));
    assert_eq!(try_update(1, "x", "{}"), Err(Error::NotTracked));
    assert_eq!(try_update(1, "u", r#"{"v":12}"#), Err(too_large));
    assert_eq!(list(&presences, "now:a"), before);
    assert_eq!(presences.owners.len(), 2);
}

#[test]
fn a_place_is_free_once_its_meta_has_left_whether_clients_know_or_not() {
    let limits = Limits { max_metas_per_key: 1, ..Limits::default() };
    let mut presences = presences_with(limits);
    let old = track(&mut presences, 1, "later:a", "u1", 1);
    flush_first(&mut presences, 100);
    presences.untrack(Owner(1), "later:a", "u1", at(0));
    let new = track(&mut presences, 1, "later:a", "u1", 2);
    let diff = json!({
        "joins": { "u1": { "metas": [seen(new, 2)] } },
        "leaves": { "u1": { "metas": [seen(old, 1)] } },
    });
    assert_eq!(flush_one(&mut presences, 100), ("presence_diff", diff));
}

#[test]
fn all_newcomers_of_a_moment_share_one_text() {
    let mut presences = presences();
    track(&mut presences, 1, "later:a", "u1", 1);
    flush_first(&mut presences, 100);
    let first = presences.state("later:a").unwrap();
    track(&mut presences, 2, "later:a", "u2", 1);
    presences.leave(Owner(1), at(0));
    let second = presences.state("later:a").unwrap();
    assert_eq!(first.json().as_ptr(), second.json().as_ptr());
    flush_one(&mut presences, 100);
    assert_ne!(first, presences.state("later:a").unwrap());
}

#[test]
fn a_meta_without_members_has_its_ref_alone() {
    let mut presences = presences();
    let phx_ref = presences.track(Owner(1), "now:a", "u", " { } ", at(1)).unwrap();
    let text = format!(r#"{{"u":{{"metas":[{{"phx_ref":"{phx_ref}"}}]}}}}"#);
    assert_eq!(&*presences.list("now:a"), text);
    let own = presences.list("now:a");
    let again = parse(&own)["u"]["metas"][0].to_string();
    let next = presences.update(Owner(1), "now:a", "u", &again, at(1)).unwrap();
    assert_eq!(&*presences.list("now:a"), text.replace(&phx_ref.to_string(), &next.to_string()));
}

proptest! {
    #[test]
    fn any_key_is_a_key(key in "\\PC{1,20}|__proto__|[\"\\\\\n\u{0}\u{1f}\u{2028}ü]{1,5}") {
        let mut presences = presences();
        let phx_ref = track(&mut presences, 1, "now:a", &key, 1);
        let everybody = json!({ &key: { "metas": [seen(phx_ref, 1)] } });
        prop_assert_eq!(flush_first(&mut presences, 0), joined(&everybody));
        let other = track(&mut presences, 2, "now:a", "other", 1);
        let own = parse(presences.state_for("now:a", Owner(2)).unwrap().json());
        let mut both = everybody;
        both["other"] = json!({ "metas": [seen(other, 1)] });
        prop_assert_eq!(own, both);
    }
}
