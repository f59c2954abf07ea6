//! Tests of retries, split batches, answers, and the stop of the server.

use super::*;

#[test]
fn what_fails_is_tried_again_later_and_then_given_up() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(1, 0)])], 1);
    accept(&mut core, 0..1);
    let mut now = 0;
    for attempt in 1..=3 {
        let mut batch = Batch::default();
        loop {
            match core.take(StageConsumer::new(0, 0), 1, at(now), &mut batch) {
                Next::Call => break,
                Next::Wait(until) => {
                    now = until.expect("it waits for the event").div_ceil(1_000_000)
                }
            }
        }
        assert_eq!(batch.rows[0][3], attempt);
        core.finish(StageConsumer::new(0, 0), &batch.deliveries, crash(), at(now));
        check(&core);
    }
    assert!((150..=300).contains(&now), "100 ms and 200 ms, up to half of them by chance: {now}");
    assert_eq!((core.totals().failed, core.totals().retried), (1, 2));
    let outputs = outputs(&mut core);
    let [Output::Dead(dead)] = outputs.as_slice() else { panic!("{outputs:?}") };
    assert_eq!((dead.attempts, dead.reason.as_str()), (3, "it trapped"));
    assert_eq!(core.totals().demand, 1, "its demand was given back each time");
}

#[test]
fn a_batch_that_crashes_is_split_until_the_poison_is_found() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(16, 0)])], 1);
    accept(&mut core, 0..16);
    let (mut calls, mut now, mut handled) = (0, 0, Vec::new());
    while core.totals().failed == 0 {
        let Some((numbers, deliveries)) = take(&mut core, 0, 0, at(now)) else {
            now += 100;
            continue;
        };
        calls += 1;
        let poisoned = numbers.contains(&11);
        if !poisoned {
            handled.extend(numbers);
        }
        let end = if poisoned { crash() } else { ok() };
        core.finish(StageConsumer::new(0, 0), &deliveries, end, at(now));
        check(&core);
    }
    handled.sort_unstable();
    assert_eq!(handled, (0..16).filter(|n| *n != 11).collect::<Vec<_>>());
    assert_eq!(calls, 11, "16, 8, 8, 4, 4, 2, 2, 1, 1, and two more of the poison");
}

#[test]
fn one_of_a_batch_fails_for_itself() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(4, 0)])], 1);
    accept(&mut core, 0..4);
    let (_, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    let reason = || "no".to_owned();
    let end = CallEnd::Answered(vec![
        (3, Verdict::Fail { reason: reason() }),
        (1, Verdict::Drop { reason: reason() }),
        (0, Verdict::Retry { after_ms: Some(5), reason: reason() }),
    ]);
    core.finish(StageConsumer::new(0, 0), &deliveries, end, at(0));
    let totals = core.totals();
    assert_eq!((totals.done, totals.failed, totals.all_dropped(), totals.delayed), (1, 1, 1, 1));
    check(&core);
    assert_eq!(take(&mut core, 0, 0, at(5)).unwrap().0, [0]);
}

#[test]
fn a_worker_that_cannot_be_called_costs_no_attempt() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(2, 0)])], 1);
    accept(&mut core, 0..2);
    for round in 0..10 {
        let (_, deliveries) = take(&mut core, 0, 0, at(round)).unwrap();
        assert_eq!(deliveries[0].attempts, 0);
        let retry_after = Duration::from_millis(1);
        core.finish(
            StageConsumer::new(0, 0),
            &deliveries,
            CallEnd::Unavailable { retry_after },
            at(round),
        );
    }
    assert_eq!(core.totals().buffered, 2);
}

#[test]
fn who_waits_gets_an_answer_either_way() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(2, 0)])], 1);
    for number in 0..2 {
        let topic = format!("topic {number}");
        let reply_to = SocketRef::of_test(3, &topic).map(Box::new);
        core.accept_one(NewEvent { reply_to, ..event(number) }, at(0)).unwrap();
    }
    core.dispatch_accepted(at(0));
    let (_, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    let payload = Payload::reason("done");
    let end = CallEnd::Answered(vec![
        (0, Verdict::Reply { status: "ok".to_owned(), payload }),
        (1, Verdict::Fail { reason: "no".to_owned() }),
    ]);
    core.finish(StageConsumer::new(0, 0), &deliveries, end, at(0));
    let answer = |output: Output| match output {
        Output::Reply { to, status, .. } => Some(format!("{}: {status}", to.topic)),
        _ => None,
    };
    let answers: Vec<_> = outputs(&mut core).into_iter().filter_map(answer).collect();
    assert_eq!(answers, ["topic 0: ok", "topic 1: error"]);
}

#[test]
fn what_waits_when_the_server_stops_is_dropped_and_counted() {
    let config = CoreConfig { ordered: true, ..config() };
    let mut core = Core::new(config, vec![demand_stage(vec![consumer(2, 0)])], 1);
    for number in 0..8 {
        core.accept_one(keyed(number, ["ada", "bob"][number as usize % 2]), at(0)).unwrap();
    }
    core.dispatch_accepted(at(0));
    let (_, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    core.abandon(at(0));
    let totals = core.totals();
    assert_eq!((totals.buffered, totals.in_flight, totals.all_dropped()), (0, 2, 6));
    check(&core);
    core.finish(StageConsumer::new(0, 0), &deliveries, ok(), at(0));
    assert!(core.is_empty());
    check(&core);
}

/// An event that a later stage drops unblocks the next of its key in the first stage.
#[test]
fn the_next_of_a_key_comes_when_nobody_selects_the_one_before_it() {
    let broadcast = StageConfig {
        dispatcher: Box::<BroadcastDispatcher>::default(),
        consumers: vec![consumer(2, 0)],
    };
    let stages = vec![demand_stage(vec![consumer(1, 0)]), broadcast];
    let mut core = Core::new(CoreConfig { ordered: true, ..config() }, stages, 1);
    for number in 0..3 {
        core.accept_one(NewEvent { selected: Some(2), ..keyed(number, "ada") }, at(0)).unwrap();
    }
    core.dispatch_accepted(at(0));
    assert_eq!(drain(&mut core, 0), [[0], [1], [2]]);
    assert_eq!(core.totals().all_dropped(), 3);
    check(&core);
}

/// The copies of a broadcast may end in any order.
#[test]
fn what_one_worker_handles_is_done_though_another_has_no_use_for_it() {
    let reason = String::new;
    let drops = Verdict::Drop { reason: reason() };
    let fails = Verdict::Fail { reason: reason() };
    for (verdicts, ends) in [
        ([drops.clone(), Verdict::Ok], (1, 0, 0)),
        ([Verdict::Ok, drops.clone()], (1, 0, 0)),
        ([drops.clone(), drops.clone()], (0, 0, 1)),
        ([fails.clone(), drops.clone()], (0, 1, 0)),
        ([drops, fails.clone()], (0, 1, 0)),
        ([fails, Verdict::Ok], (0, 1, 0)),
    ] {
        let stage = StageConfig {
            dispatcher: Box::<BroadcastDispatcher>::default(),
            consumers: vec![consumer(1, 0), consumer(1, 0)],
        };
        let mut core = Core::new(config(), vec![stage], 1);
        accept(&mut core, 0..1);
        for (id, verdict) in (0..).zip(verdicts.clone()) {
            let (_, deliveries) = take(&mut core, 0, id, at(0)).unwrap();
            let end = CallEnd::Answered(vec![(0, verdict)]);
            core.finish(StageConsumer::new(0, id), &deliveries, end, at(0));
            check(&core);
        }
        let totals = core.totals();
        assert_eq!((totals.done, totals.failed, totals.all_dropped()), ends, "{verdicts:?}");
    }
}

#[test]
fn a_broadcast_goes_on_when_the_slowest_leaves() {
    let stage = StageConfig {
        dispatcher: Box::<BroadcastDispatcher>::default(),
        consumers: vec![consumer(4, 0), consumer(1, 0)],
    };
    let mut core = Core::new(config(), vec![stage], 1);
    accept(&mut core, 0..3);
    let (_, deliveries) = take(&mut core, 0, 1, at(0)).unwrap();
    assert_eq!(take(&mut core, 0, 0, at(0)).unwrap().0, [0]);
    // It has one event in a call, and none that waits.
    core.cancel(StageConsumer::new(0, 1), at(0));
    assert_eq!(core.totals().buffered, 0);
    core.finish(StageConsumer::new(0, 1), &deliveries, ok(), at(0));
    check(&core);
}
