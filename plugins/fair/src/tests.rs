//! Who gets through when.

use super::*;

/// Pushes `events` of each key, then pops all; the keys in the order of their
/// turns.
fn turns(weights: &str, queued: &[(&str, usize)]) -> String {
    let mut fair = Fair::with_weights(weights).unwrap();
    let mut keys = HashMap::new();
    for (key, events) in queued {
        for _ in 0..*events {
            let event = keys.len() as u64 + 1;
            keys.insert(event, *key);
            fair.push(event, key.len() as u64 * 100 + u64::from(key.as_bytes()[0]), key);
        }
    }
    let mut turns = String::new();
    while let Some(event) = fair.pop() {
        turns.push_str(keys.remove(&event).unwrap());
    }
    assert!(keys.is_empty() && fair.by_key.is_empty() && fair.round.is_empty());
    turns
}

#[test]
fn each_key_gets_its_turn() {
    assert_eq!(turns("", &[("a", 6), ("b", 2), ("c", 1)]), "abcabaaaa");
}

#[test]
fn a_key_gets_as_many_turns_as_its_weight() {
    assert_eq!(turns("a=3", &[("a", 6), ("b", 3)]), "aaabaaabb");
    assert!(Fair::with_weights("a=0").unwrap_err().to_string().contains("\"a=0\""));
}

#[test]
fn events_of_a_key_keep_their_order() {
    let mut fair = Fair::default();
    (1..=5).for_each(|event| fair.push(event, 9, ""));
    fair.withdraw(1, 9);
    fair.withdraw(4, 9);
    let popped: Vec<_> = std::iter::from_fn(|| fair.pop()).collect();
    assert_eq!(popped, [2, 3, 5]);
}

#[test]
fn a_key_whose_events_were_withdrawn_loses_its_turn_alone() {
    let mut fair = Fair::default();
    fair.push(1, 8, "");
    fair.push(2, 9, "");
    fair.withdraw(1, 8);
    assert_eq!((fair.pop(), fair.pop()), (Some(2), None));
}
