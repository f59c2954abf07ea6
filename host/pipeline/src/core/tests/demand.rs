//! Tests of demand, taken from GenStage's, and of the bounds of the buffer.

use super::*;

/// `gen_stage_test.exs`, "producer_to_consumer demand": a batch has as many events as are asked
/// for again, for several `max_demand` and `min_demand`.
#[test]
fn batches_are_of_max_less_min() {
    for (max, min, expected) in
        [(1000, 500, vec![500, 500, 500]), (10, 0, vec![10; 150]), (1000, 900, vec![100; 15])]
    {
        let mut core = Core::new(
            CoreConfig { size: 1_500, ..config() },
            vec![demand_stage(vec![consumer(max, min)])],
            1,
        );
        assert_eq!(accept(&mut core, 0..1_500), 1_500);
        let batches = drain(&mut core, 0);
        assert_eq!(sizes(&batches), expected, "max {max}, min {min}");
        assert_eq!(batches.concat(), (0..1_500).collect::<Vec<_>>());
        check(&core);
        assert_eq!(core.totals().done, 1_500);
        assert_eq!(core.totals().demand, u64::from(max));
    }
}

/// `gen_stage_test.exs`, "with shared (broadcast) demand" and similar ones: demand that comes
/// before the events is remembered.
#[test]
fn demand_comes_before_events() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(10, 5)])], 1);
    assert_eq!(core.totals().demand, 10);
    accept(&mut core, 0..4);
    assert_eq!((core.totals().demand, core.totals().in_flight), (6, 4));
    assert_eq!(drain(&mut core, 0), [[0, 1, 2, 3]]);
    // Six events are still asked for, which is more than `min`.
    assert_eq!(core.totals().demand, 6);
    accept(&mut core, 4..5);
    assert_eq!(drain(&mut core, 0), [[4]]);
    assert_eq!(core.totals().demand, 10);
}

/// `demand_dispatcher_test.exs`: the largest demand first.
#[test]
fn the_consumer_that_asks_for_most_gets_most() {
    let consumers = vec![consumer(3, 0), consumer(5, 0), consumer(4, 0)];
    let mut core = Core::new(config(), vec![demand_stage(consumers)], 1);
    accept(&mut core, 0..7);
    let taken = |core: &mut Core, id| take(core, 0, id, at(0)).map(|(numbers, _)| numbers);
    assert_eq!(taken(&mut core, 1), Some(vec![0, 1, 2, 3, 4]));
    assert_eq!(taken(&mut core, 2), Some(vec![5, 6]));
    assert_eq!(taken(&mut core, 0), None);
    check(&core);
}

/// `broadcast_dispatcher_test.exs`: the slowest consumer sets the pace, and an event that a
/// consumer does not select takes nothing of its demand.
#[test]
fn a_broadcast_waits_for_the_slowest() {
    let mut odd = consumer(2, 0);
    odd.subscription.selector = 2;
    let stage = StageConfig {
        dispatcher: Box::<BroadcastDispatcher>::default(),
        consumers: vec![consumer(4, 0), odd],
    };
    let mut core = Core::new(config(), vec![stage], 1);
    for number in 0..8 {
        let selected = Some(if number % 2 == 1 { 3 } else { 1 });
        core.accept_one(NewEvent { selected, ..event(number) }, at(0)).unwrap();
    }
    core.accept_one(NewEvent { selected: Some(4), ..event(8) }, at(0)).unwrap();
    core.dispatch_accepted(at(0));
    let (first, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    assert_eq!(first, [0, 1, 2, 3]);
    core.finish(StageConsumer::new(0, 0), &deliveries, ok(), at(0));
    assert_eq!(core.totals().done, 2, "the other has not handled 1 and 3");
    assert!(take(&mut core, 0, 0, at(0)).is_none(), "the other has asked for no more");
    let (second, deliveries) = take(&mut core, 0, 1, at(0)).unwrap();
    assert_eq!(second, [1, 3]);
    core.finish(StageConsumer::new(0, 1), &deliveries, ok(), at(0));
    assert_eq!(drain(&mut core, 0), [[4, 5, 6, 7]]);
    assert_eq!(drain(&mut core, 1), [[5, 7]]);
    let totals = core.totals();
    assert_eq!((totals.done, totals.all_dropped()), (8, 1), "8 was selected by nobody");
    check(&core);
}

/// `partition_dispatcher_test.exs`, with a difference: events that wait for a consumer that leaves
/// are not discarded.
#[test]
fn a_partition_keeps_its_events_when_its_consumer_leaves() {
    let partitioned = |partition| {
        let mut consumer = consumer(2, 0);
        consumer.subscription.partition = Some(partition);
        consumer
    };
    let stage = StageConfig {
        dispatcher: Box::new(PartitionDispatcher::new(1)),
        consumers: vec![partitioned(0)],
    };
    let mut core = Core::new(config(), vec![stage], 1);
    for number in 0..5 {
        core.accept_one(keyed(number, "ada"), at(0)).unwrap();
    }
    core.dispatch_accepted(at(0));
    core.cancel(StageConsumer::new(0, 0), at(0));
    check(&core);
    assert_eq!(core.totals().buffered, 5);
    assert!(take(&mut core, 0, 0, at(0)).is_none());
    let next = core.subscribe(0, partitioned(0), at(0)).unwrap();
    assert_eq!(drain(&mut core, next.0).concat(), [0, 1, 2, 3, 4]);
    check(&core);
}

#[test]
fn a_full_buffer_does_as_it_was_told() {
    for (on_full, kept, rejected, dropped) in [
        (OnFull::Reject, 0..3, 2, 0),
        (OnFull::KeepFirst, 0..3, 0, 2),
        (OnFull::KeepLast, 2..5, 0, 2),
    ] {
        let config = CoreConfig { size: 3, on_full, ..config() };
        let mut core = Core::new(config, vec![demand_stage(Vec::new())], 1);
        accept(&mut core, 0..5);
        let totals = core.totals();
        assert_eq!((totals.rejected, totals.all_dropped()), (rejected, dropped), "{on_full:?}");
        check(&core);
        let id = core.subscribe(0, consumer(10, 0), at(0)).unwrap();
        assert_eq!(drain(&mut core, id.0).concat(), kept.collect::<Vec<_>>(), "{on_full:?}");
    }
}

#[test]
fn one_key_has_only_its_share_of_the_buffer() {
    let config = CoreConfig { max_per_key: 2, ..config() };
    let mut core = Core::new(config, vec![demand_stage(Vec::new())], 1);
    let accepted = |core: &mut Core, key| core.accept_one(keyed(0, key), at(0)).is_ok();
    assert!(accepted(&mut core, "ada") && accepted(&mut core, "ada"));
    assert!(!accepted(&mut core, "ada"));
    assert!(accepted(&mut core, "bob"));
    check(&core);
}

#[test]
fn payloads_are_bounded_in_bytes() {
    let config = CoreConfig { max_bytes: 10, ..config() };
    let mut core = Core::new(config, vec![demand_stage(Vec::new())], 1);
    assert_eq!(accept(&mut core, 0..20), 10);
    assert_eq!(core.totals().bytes, 10);
}

#[test]
fn what_is_too_old_is_dropped_and_asked_for_again() {
    let config = CoreConfig { deadline: Some(Duration::from_millis(50)), ..config() };
    let mut core = Core::new(config, vec![demand_stage(vec![consumer(2, 0)])], 1);
    accept(&mut core, 0..3);
    assert!(take(&mut core, 0, 0, at(51)).is_none());
    let totals = core.totals();
    assert_eq!(totals.all_dropped(), 3);
    assert_eq!(totals.demand, 1, "half of two is not asked for again");
    check(&core);
}

#[test]
fn a_batch_waits_to_be_full_but_not_for_ever() {
    let consumer =
        ConsumerConfig { batch_timeout_ns: 10_000_000, batch_size: 5, ..consumer(10, 0) };
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer])], 1);
    accept(&mut core, 0..2);
    let mut batch = Batch::default();
    let next = core.take(StageConsumer::new(0, 0), usize::MAX, at(0), &mut batch);
    assert_eq!(next, Next::Wait(Some(10_000_000)));
    accept(&mut core, 2..5);
    assert_eq!(take(&mut core, 0, 0, at(1)).unwrap().0, [0, 1, 2, 3, 4]);
    let mut other = Core::new(
        config(),
        vec![demand_stage(vec![ConsumerConfig {
            concurrency: 2,
            batch_timeout_ns: 10_000_000,
            ..super::consumer(10, 0)
        }])],
        1,
    );
    accept(&mut other, 0..2);
    assert!(take(&mut other, 0, 0, at(9)).is_none());
    assert_eq!(take(&mut other, 0, 0, at(10)).unwrap().0, [0, 1]);
}

/// Transforms work ahead, so that the last stage's dispatcher can choose from all events that
/// wait. The buffer's bound is on all stages together.
#[test]
fn transforms_work_ahead_within_the_bound() {
    let stages = vec![demand_stage(vec![consumer(10, 0)]), demand_stage(vec![consumer(2, 0)])];
    let mut core = Core::new(CoreConfig { size: 20, ..config() }, stages, 1);
    assert_eq!(accept(&mut core, 0..20), 20);
    assert_eq!(accept(&mut core, 20..40), 10, "10 are with the transform");
    let mut transformed = 0;
    while let Some((numbers, deliveries)) = take(&mut core, 0, 0, at(0)) {
        transformed += numbers.len();
        let forward = |i: usize| {
            let payload = Bytes::from((numbers[i] + 100).to_string());
            (u32::try_from(i).unwrap(), Verdict::Forward(payload))
        };
        let end = CallEnd::Answered((0..numbers.len()).map(forward).collect());
        core.finish(StageConsumer::new(0, 0), &deliveries, end, at(0));
        check(&core);
    }
    assert_eq!(transformed, 30);
    assert_eq!(accept(&mut core, 40..41), 0, "they all wait for the second stage");
    let (numbers, deliveries) = take(&mut core, 1, 0, at(0)).unwrap();
    assert_eq!(numbers, [100, 101]);
    core.finish(StageConsumer::new(1, 0), &deliveries, ok(), at(0));
    assert_eq!(core.totals().done, 2);
    check(&core);
}
