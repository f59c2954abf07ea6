//! Tests of the turns that keys get.

use millrace_plugin::testing::{Assigned, Stage};
use proptest::prelude::*;

use super::*;

/// Pushes `events` of each key, then pops all. Returns the keys in the order of their turns.
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

#[test]
fn a_key_that_comes_again_before_its_turn_has_one_turn() {
    let mut fair = Fair::default();
    fair.push(1, 8, "");
    fair.withdraw(1, 8);
    fair.push(2, 8, "");
    fair.push(3, 9, "");
    fair.push(4, 8, "");
    let popped: Vec<_> = std::iter::from_fn(|| fair.pop()).collect();
    assert_eq!(popped, [2, 3, 4]);
    assert_eq!(fair.free.len(), 2);
}

/// One step of a stage.
#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Withdraw(u8),
    Ask(u8),
    Finish(u8),
    /// The consumer leaves, and another subscribes.
    Change(u8),
    Dispatch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..5_u8).prop_map(Step::Push),
        1 => any::<u8>().prop_map(Step::Withdraw),
        1 => (0..3_u8).prop_map(Step::Ask),
        4 => any::<u8>().prop_map(Step::Finish),
        1 => (0..3_u8).prop_map(Step::Change),
        4 => Just(Step::Dispatch),
    ];
    proptest::collection::vec(step, 0..300)
}

fn key(number: u8) -> String {
    // One of the keys is empty, which means no key.
    if number == 0 { String::new() } else { format!("key{number}") }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn every_event_goes_out_once_and_in_the_order_of_its_key(
        steps in steps(),
        weights in prop_oneof![Just(""), Just("key2=3")],
    ) {
        let mut stage = Stage::new(Fair::with_weights(weights).unwrap());
        (0..3).for_each(|consumer| stage.subscribe(consumer, 2));
        let (mut consumers, mut last) = ([0, 1, 2], HashMap::new());
        let (mut pushed, mut gone) = (0, 0);
        let dispatch = |stage: &mut Stage<Fair>, last: &mut HashMap<String, u64>| {
            for Assigned { event, key, .. } in stage.dispatch() {
                let before = last.insert(key.clone(), event);
                assert!(before.is_none_or(|before| before < event), "{event} of {key:?}");
            }
        };
        for step in steps {
            match step {
                Step::Push(number) => {
                    stage.push(&key(number), 0);
                    pushed += 1;
                }
                Step::Withdraw(at) => {
                    let event = stage.waiting().get(usize::from(at) % 16).copied();
                    gone += event.map_or(0, |event| u64::from(stage.withdraw(event)));
                }
                Step::Ask(at) => stage.ask(consumers[usize::from(at)], 1),
                Step::Change(at) => {
                    let consumer = &mut consumers[usize::from(at)];
                    stage.cancel(*consumer);
                    *consumer += 3;
                    stage.subscribe(*consumer, 2);
                    // The events that it had come again.
                    last.clear();
                }
                Step::Finish(at) => {
                    let event = stage.in_flight().get(usize::from(at) % 8).map(|a| a.event);
                    gone += event.map_or(0, |event| u64::from(stage.finish(event)));
                }
                Step::Dispatch => dispatch(&mut stage, &mut last),
            }
        }
        dispatch(&mut stage, &mut last);
        while let Some(event) = stage.in_flight().first().map(|assigned| assigned.event) {
            stage.finish(event);
            gone += 1;
            dispatch(&mut stage, &mut last);
        }
        prop_assert_eq!((stage.waiting().len(), gone), (0, pushed));
        let fair = stage.dispatcher();
        prop_assert!(fair.by_key.is_empty() && fair.round.is_empty(), "{fair:?}");
    }

    /// While all keys have events, each gets its weight in each round, however many events the
    /// others have.
    #[test]
    fn a_round_gives_each_key_its_weight(
        weights in proptest::collection::vec(1..6_usize, 1..6),
        rounds in 1..5_usize,
        flood in 0..100_usize,
        asked in 1..7_u32,
    ) {
        let texts: Vec<String> = weights.iter().enumerate()
            .map(|(at, weight)| format!("{}={weight}", key(at as u8 + 1)))
            .collect();
        let mut stage = Stage::new(Fair::with_weights(&texts.join(" ")).unwrap());
        for (at, weight) in weights.iter().enumerate() {
            let events = weight * rounds + if at == 0 { flood } else { 1 };
            let key = key(at as u8 + 1);
            (0..events).for_each(|_| { stage.push(&key, 0); });
        }
        stage.subscribe(0, asked);
        let round: usize = weights.iter().sum();
        let mut order = Vec::new();
        while order.len() < round * rounds {
            for assigned in stage.dispatch() {
                stage.finish(assigned.event);
                order.push(assigned.key);
            }
        }
        for round in order.chunks_exact(round).take(rounds) {
            for (at, weight) in weights.iter().enumerate() {
                let key = key(at as u8 + 1);
                let got = round.iter().filter(|other| **other == key).count();
                prop_assert_eq!(got, *weight, "{} in {:?}", key, round);
            }
        }
    }
}
