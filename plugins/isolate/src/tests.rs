//! Tests of the keys that are confined.

use millrace_plugin::testing::{Assigned, Stage};
use proptest::prelude::*;

use super::*;

/// A dispatcher with four workers, and events named by the letters of their keys.
fn queued(keys: &str) -> Isolate {
    let mut isolate = Isolate::with(0.5, 1);
    isolate.consumers.subscribe(0, 4);
    let events = keys.bytes().enumerate().map(|(at, key)| (at as u64 + 1, u64::from(key)));
    isolate.queue.extend(events);
    isolate
}

/// The keys of the next events, as far as they may go out.
fn out(isolate: &mut Isolate, most: usize) -> (String, Vec<u64>) {
    let (mut keys, mut events) = (String::new(), Vec::new());
    while events.len() < most
        && let Some(event) = isolate.pop()
    {
        keys.push(isolate.in_flight[&event] as u8 as char);
        events.push(event);
    }
    (keys, events)
}

#[test]
fn who_takes_over_is_confined_to_one() {
    let mut isolate = queued("aaaaaaaabc");
    // Its share is two of four. Then it is confined, and the others go on.
    let (keys, events) = out(&mut isolate, 4);
    assert_eq!(keys, "aabc");
    assert_eq!(out(&mut isolate, 4).0, "");
    isolate.finish(events[0]);
    assert_eq!(out(&mut isolate, 4).0, "", "it still has one");
    isolate.finish(events[1]);
    let (keys, events) = out(&mut isolate, 4);
    assert_eq!(keys, "a", "one at a time from now on");
    isolate.finish(events[0]);
    assert_eq!(out(&mut isolate, 4).0, "a");
}

#[test]
fn it_is_free_again_when_nothing_of_it_waits() {
    let mut isolate = queued("aaaa");
    let mut events = out(&mut isolate, 4).1;
    let mut rounds = 0;
    while let Some(event) = events.pop() {
        isolate.finish(event);
        events.extend(out(&mut isolate, 4).1);
        rounds += 1;
    }
    assert_eq!(rounds, 4, "all of them went out");
    assert!(isolate.keys.is_empty() && isolate.in_flight.is_empty());
}

#[test]
fn a_mixed_crowd_goes_out_in_order() {
    let mut isolate = queued("abcd");
    assert_eq!(out(&mut isolate, 4).0, "abcd");
}

/// This holds even if no consumer asks, as for a buffer that keeps the last events of a flood.
#[test]
fn what_is_withdrawn_does_not_pile_up() {
    let mut stage = Stage::new(Isolate::with(0.5, 1));
    for _ in 0..100_000 {
        let event = stage.push("ada", 0);
        stage.dispatch();
        stage.withdraw(event);
    }
    let isolate = stage.dispatcher();
    let held = isolate.queue.len() + isolate.withdrawn.len();
    assert!(held <= 2 * MIN_SWEEP + 1, "{held}");
}

/// One step of a stage.
#[derive(Clone, Debug)]
enum Step {
    Push(u8),
    Withdraw(u8),
    Finish(u8),
    /// The consumer leaves, and another subscribes.
    Change(u8),
    Dispatch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // One key has most events.
        6 => Just(Step::Push(1)),
        3 => (0..5_u8).prop_map(Step::Push),
        1 => any::<u8>().prop_map(Step::Withdraw),
        5 => any::<u8>().prop_map(Step::Finish),
        1 => (0..2_u8).prop_map(Step::Change),
        5 => Just(Step::Dispatch),
    ];
    proptest::collection::vec(step, 0..300)
}

/// A stage, with checks of what it assigns.
struct Run {
    stage: Stage<Isolate>,
    last: HashMap<String, u64>,
}

impl Run {
    fn dispatch(&mut self) {
        let allowed = self.stage.dispatcher().allowed() as usize;
        for Assigned { event, key, .. } in self.stage.dispatch() {
            let before = self.last.insert(key.clone(), event);
            assert!(before.is_none_or(|before| before < event), "{event} of {key:?}");
        }
        for key in self.last.keys().filter(|key| !key.is_empty()) {
            let has = self.stage.in_flight().iter().filter(|assigned| assigned.key == *key).count();
            assert!(has <= allowed, "{key} has {has} of {allowed}");
        }
        self.nobody_is_kept_waiting();
    }

    /// While a consumer asks, every event that waits is of a key that has as much as it may.
    fn nobody_is_kept_waiting(&self) {
        let isolate = self.stage.dispatcher();
        if isolate.consumers.are_asking() {
            assert!(isolate.queue.is_empty(), "{isolate:?}");
            for key in isolate.keys.values().filter(|key| !key.waiting.is_empty()) {
                assert!(key.confined && key.in_flight >= isolate.confined, "{key:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nobody_takes_over_and_every_event_goes_out_once_in_the_order_of_its_key(
        steps in steps(),
        share in 0.0..=1.0_f64,
        confined in 1..4_u32,
        max_demand in 1..10_u32,
    ) {
        // A confined key must not get more than the others.
        let allowed = (f64::from(max_demand * 2) * share).max(1.0) as u32;
        let mut stage = Stage::new(Isolate::with(share, confined.min(allowed)));
        (0..2).for_each(|consumer| stage.subscribe(consumer, max_demand));
        let mut run = Run { stage, last: HashMap::new() };
        let (mut pushed, mut gone, mut consumers) = (0, 0, [0, 1]);
        for step in steps {
            match step {
                Step::Push(number) => {
                    let key = if number == 0 { String::new() } else { number.to_string() };
                    run.stage.push(&key, 0);
                    pushed += 1;
                }
                Step::Withdraw(at) => {
                    let event = run.stage.waiting().get(usize::from(at) % 16).copied();
                    gone += event.map_or(0, |event| u64::from(run.stage.withdraw(event)));
                }
                Step::Finish(at) => {
                    let event = run.stage.in_flight().get(usize::from(at) % 8).map(|a| a.event);
                    gone += event.map_or(0, |event| u64::from(run.stage.finish(event)));
                }
                Step::Change(at) => {
                    let consumer = &mut consumers[usize::from(at)];
                    run.stage.cancel(*consumer);
                    *consumer += 2;
                    run.stage.subscribe(*consumer, max_demand);
                    // The events that it had come again.
                    run.last.clear();
                }
                Step::Dispatch => run.dispatch(),
            }
        }
        run.dispatch();
        while let Some(event) = run.stage.in_flight().first().map(|assigned| assigned.event) {
            run.stage.finish(event);
            gone += 1;
            run.dispatch();
        }
        prop_assert_eq!((run.stage.waiting().len(), gone), (0, pushed));
        // A key is forgotten with its last event.
        let isolate = run.stage.dispatcher();
        prop_assert!(isolate.in_flight.is_empty() && isolate.keys.is_empty(), "{isolate:?}");
    }
}
