//! Tests of the order of urgent events.

use std::collections::BTreeMap;

use millrace_plugin::testing::Stage;
use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

#[test]
fn the_most_urgent_is_first_and_the_patient_is_not_forgotten() {
    let mut dispatcher = Priority::aging(1_000);
    dispatcher.push(1, 0, 0);
    dispatcher.push(2, 9, 1_000 * MS);
    dispatcher.push(3, 9, 1_000 * MS);
    dispatcher.push(4, 1, 1_500 * MS);
    // By now the first event is worth twenty, and the urgent one ten.
    dispatcher.push(5, 10, 20_000 * MS);
    dispatcher.withdrawn.insert(4);
    let popped: Vec<_> = std::iter::from_fn(|| dispatcher.pop()).collect();
    assert_eq!(popped, [2, 3, 1, 5]);
}

/// This holds even if their turn never comes, as for a buffer that keeps the last events of a
/// flood.
#[test]
fn what_is_withdrawn_does_not_pile_up() {
    let mut stage = Stage::new(Priority::aging(AGING_MS));
    for _ in 0..100_000 {
        let event = stage.push("", 0);
        stage.dispatch();
        stage.withdraw(event);
    }
    let held = stage.dispatcher().events.len();
    assert!(held <= 2 * MIN_SWEEP, "{held}");
}

#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Withdraw(u8),
    /// Finishes one event, and dispatches the next.
    Next,
    Wait(u16),
    /// The consumer leaves, and another subscribes.
    Change,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop_oneof![0..4_u8, any::<u8>()].prop_map(Step::Push),
        1 => any::<u8>().prop_map(Step::Withdraw),
        3 => Just(Step::Next),
        2 => (0..3_000_u16).prop_map(Step::Wait),
        1 => Just(Step::Change),
    ];
    proptest::collection::vec(step, 0..300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Events go out by the sum of their priority and what they gained by waiting; among equals, by
    /// arrival.
    #[test]
    fn the_most_urgent_of_those_that_wait_is_next(steps in steps(), aging_ms in 1..2_000_u32) {
        let mut stage = Stage::new(Priority::aging(aging_ms));
        let mut consumer = 0;
        stage.subscribe(consumer, 1);
        // The urgency of each event in milliseconds of aging, less the time: it gains one
        // millisecond with each.
        let mut waiting: BTreeMap<u64, i64> = BTreeMap::new();
        let mut now_ms = 0_i64;
        let next = |stage: &mut Stage<Priority>, waiting: &mut BTreeMap<u64, i64>| {
            let ended = stage.in_flight().first().map(|assigned| assigned.event);
            ended.map(|event| stage.finish(event));
            let expected = waiting.iter().max_by_key(|(event, worth)| (**worth, -(**event as i64)));
            let expected = expected.map(|(event, _)| *event);
            let found = stage.dispatch().first().map(|assigned| assigned.event);
            assert_eq!(found, expected, "{waiting:?}");
            found.map(|event| waiting.remove(&event));
        };
        for step in steps {
            match step {
                Step::Push(priority) => {
                    let event = stage.push("", priority);
                    waiting.insert(event, i64::from(priority) * i64::from(aging_ms) - now_ms);
                }
                Step::Withdraw(at) => {
                    let event = stage.waiting().get(usize::from(at) % 16).copied();
                    if let Some(event) = event && stage.withdraw(event) {
                        waiting.remove(&event);
                    }
                }
                Step::Next => next(&mut stage, &mut waiting),
                Step::Change => {
                    for back in stage.in_flight() {
                        let came_ms = (back.came_ns / MS) as i64;
                        let worth = i64::from(back.priority) * i64::from(aging_ms) - came_ms;
                        waiting.insert(back.event, worth);
                    }
                    stage.cancel(consumer);
                    consumer += 1;
                    stage.subscribe(consumer, 1);
                }
                Step::Wait(ms) => {
                    stage.wait(u64::from(ms) * MS);
                    now_ms += i64::from(ms);
                }
            }
        }
        while !waiting.is_empty() {
            next(&mut stage, &mut waiting);
        }
        stage.dispatch();
        let priority = stage.dispatcher();
        prop_assert_eq!(priority.events.len(), priority.withdrawn.len());
    }
}
