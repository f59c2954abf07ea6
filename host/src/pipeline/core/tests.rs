//! GenStage's behaviour, and what holds whatever happens.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::pipeline::consumer::Delivery;
use crate::pipeline::demand::DemandLimits;
use crate::pipeline::dispatcher::{
    Assignment, BroadcastDispatcher, DemandDispatcher, Offer, PartitionDispatcher, Subscription,
    Wants,
};
use crate::pipeline::event::{NewEvent, Verdict};

fn config() -> CoreConfig {
    CoreConfig {
        size: 1_000,
        max_bytes: 1 << 20,
        max_per_key: 0,
        on_full: OnFull::Reject,
        retry: RetryPolicy {
            max_attempts: 3,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
        },
        deadline: None,
        ordered: false,
        keep_dropped: false,
    }
}

fn consumer(max: u32, min: u32) -> ConsumerConfig {
    let subscription = Subscription { max_demand: max, selector: 1, ..Subscription::default() };
    ConsumerConfig {
        subscription,
        demand: DemandLimits::new(max, Some(min)).unwrap(),
        batch_size: max,
        batch_timeout_ns: 0,
        concurrency: 1,
    }
}

fn demand_stage(consumers: Vec<ConsumerConfig>) -> StageConfig {
    StageConfig { dispatcher: Box::<DemandDispatcher>::default(), consumers }
}

fn event(number: u32) -> NewEvent {
    let payload = Bytes::from(number.to_string());
    NewEvent { payload, ..NewEvent::default() }
}

fn keyed(number: u32, key: &str) -> NewEvent {
    NewEvent { key: Some(key.into()), ..event(number) }
}

fn at(ms: u64) -> Now {
    Now(ms * 1_000_000)
}

/// Takes the numbers of events.
fn accept(core: &mut Core, numbers: std::ops::Range<u32>) -> usize {
    let taken = numbers.filter(|number| core.accept(event(*number), at(0)).is_ok()).count();
    core.accepted(at(0));
    taken
}

/// The next batch of a consumer, if it has one.
fn take(core: &mut Core, stage: usize, id: u32, now: Now) -> Option<(Vec<u32>, Vec<Delivery>)> {
    let mut batch = Batch::default();
    match core.take(stage, ConsumerId(id), usize::MAX, now, &mut batch) {
        Next::Call => Some((numbers(&batch), batch.deliveries)),
        Next::Wait(_) => None,
    }
}

fn numbers(batch: &Batch) -> Vec<u32> {
    let mut from = 0;
    let mut number = |meta: &Meta| {
        let payload = &batch.payloads[from..meta.payload_end as usize];
        from = meta.payload_end as usize;
        std::str::from_utf8(payload).unwrap().parse().unwrap()
    };
    batch.metas.iter().map(&mut number).collect()
}

fn ok() -> CallEnd {
    CallEnd::Answered(Vec::new())
}

fn crash() -> CallEnd {
    CallEnd::Failed { reason: "it trapped".to_owned() }
}

/// Handles everything there is for one consumer; its batches.
fn drain(core: &mut Core, id: u32) -> Vec<Vec<u32>> {
    let mut batches = Vec::new();
    while let Some((numbers, deliveries)) = take(core, 0, id, at(0)) {
        batches.push(numbers);
        core.finish(0, ConsumerId(id), &deliveries, ok(), at(0));
    }
    batches
}

fn sizes(batches: &[Vec<u32>]) -> Vec<usize> {
    batches.iter().map(Vec::len).collect()
}

fn outputs(core: &mut Core) -> Vec<Output> {
    let mut outputs = Vec::new();
    core.take_outputs(&mut outputs);
    outputs
}

fn check(core: &Core) {
    let totals = core.totals();
    assert!(totals.is_conserved(), "{totals:?}");
}

// === GenStage ===

/// `gen_stage_test.exs`, "producer_to_consumer demand": batches of what is asked
/// for again, for each max and min.
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

/// The same, "with shared (broadcast) demand" and its kin: what is asked for
/// before there are events is remembered.
#[test]
fn demand_comes_before_events() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(10, 5)])], 1);
    assert_eq!(core.totals().demand, 10);
    accept(&mut core, 0..4);
    assert_eq!((core.totals().demand, core.totals().in_flight), (6, 4));
    assert_eq!(drain(&mut core, 0), [[0, 1, 2, 3]]);
    // Six are still asked for, which is more than `min`.
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

/// `broadcast_dispatcher_test.exs`: the slowest consumer sets the pace, and what
/// one does not select takes nothing of its demand.
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
        core.accept(NewEvent { selected, ..event(number) }, at(0)).unwrap();
    }
    core.accept(NewEvent { selected: Some(4), ..event(8) }, at(0)).unwrap();
    core.accepted(at(0));
    let (first, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    assert_eq!(first, [0, 1, 2, 3]);
    core.finish(0, ConsumerId(0), &deliveries, ok(), at(0));
    assert_eq!(core.totals().done, 2, "the other has not handled 1 and 3");
    assert!(take(&mut core, 0, 0, at(0)).is_none(), "the other has asked for no more");
    let (second, deliveries) = take(&mut core, 0, 1, at(0)).unwrap();
    assert_eq!(second, [1, 3]);
    core.finish(0, ConsumerId(1), &deliveries, ok(), at(0));
    assert_eq!(drain(&mut core, 0), [[4, 5, 6, 7]]);
    assert_eq!(drain(&mut core, 1), [[5, 7]]);
    let totals = core.totals();
    assert_eq!((totals.done, totals.all_dropped()), (8, 1), "8 was selected by nobody");
    check(&core);
}

/// `partition_dispatcher_test.exs`, and beyond it: what waits for a consumer that
/// leaves is not thrown away.
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
        core.accept(keyed(number, "ada"), at(0)).unwrap();
    }
    core.accepted(at(0));
    core.cancel(0, ConsumerId(0), at(0));
    check(&core);
    assert_eq!(core.totals().buffered, 5);
    assert!(take(&mut core, 0, 0, at(0)).is_none());
    let next = core.subscribe(0, partitioned(0), at(0)).unwrap();
    assert_eq!(drain(&mut core, next.0).concat(), [0, 1, 2, 3, 4]);
    check(&core);
}

// === bounds ===

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
    let accepted = |core: &mut Core, key| core.accept(keyed(0, key), at(0)).is_ok();
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
    let next = core.take(0, ConsumerId(0), usize::MAX, at(0), &mut batch);
    assert_eq!(next, Next::Wait(Some(10_000_000)));
    accept(&mut core, 2..5);
    assert_eq!(take(&mut core, 0, 0, at(1)).unwrap().0, [0, 1, 2, 3, 4]);
    let mut other = Core::new(
        config(),
        vec![demand_stage(vec![ConsumerConfig {
            concurrency: 2,
            batch_timeout_ns: 10_000_000,
            ..super::tests::consumer(10, 0)
        }])],
        1,
    );
    accept(&mut other, 0..2);
    assert!(take(&mut other, 0, 0, at(9)).is_none());
    assert_eq!(take(&mut other, 0, 0, at(10)).unwrap().0, [0, 1]);
}

/// Transforms work ahead, so that the last stage's dispatcher has all that waits
/// to choose from; the buffer's bound is on all stages together.
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
        core.finish(0, ConsumerId(0), &deliveries, end, at(0));
        check(&core);
    }
    assert_eq!(transformed, 30);
    assert_eq!(accept(&mut core, 40..41), 0, "they all wait for the second stage");
    let (numbers, deliveries) = take(&mut core, 1, 0, at(0)).unwrap();
    assert_eq!(numbers, [100, 101]);
    core.finish(1, ConsumerId(0), &deliveries, ok(), at(0));
    assert_eq!(core.totals().done, 2);
    check(&core);
}

// === failures ===

#[test]
fn what_fails_is_tried_again_later_and_then_given_up() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(1, 0)])], 1);
    accept(&mut core, 0..1);
    let mut now = 0;
    for attempt in 1..=3 {
        let mut batch = Batch::default();
        loop {
            match core.take(0, ConsumerId(0), 1, at(now), &mut batch) {
                Next::Call => break,
                Next::Wait(until) => {
                    now = until.expect("it waits for the event").div_ceil(1_000_000)
                }
            }
        }
        assert_eq!(batch.metas[0].attempt, attempt);
        core.finish(0, ConsumerId(0), &batch.deliveries, crash(), at(now));
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
        core.finish(0, ConsumerId(0), &deliveries, end, at(now));
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
    core.finish(0, ConsumerId(0), &deliveries, end, at(0));
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
        core.finish(0, ConsumerId(0), &deliveries, CallEnd::Unavailable { retry_after }, at(round));
    }
    assert_eq!(core.totals().buffered, 2);
}

#[test]
fn who_waits_gets_an_answer_either_way() {
    let mut core = Core::new(config(), vec![demand_stage(vec![consumer(2, 0)])], 1);
    for number in 0..2 {
        let text = format!("[\"1\",2,3,\"topic {number}\",\"4\"]");
        let reply_to = Some(Box::new(SocketRef::parse(&text).unwrap()));
        core.accept(NewEvent { reply_to, ..event(number) }, at(0)).unwrap();
    }
    core.accepted(at(0));
    let (_, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    let payload = Payload::reason("done");
    let end = CallEnd::Answered(vec![
        (0, Verdict::Reply { status: "ok".to_owned(), payload }),
        (1, Verdict::Fail { reason: "no".to_owned() }),
    ]);
    core.finish(0, ConsumerId(0), &deliveries, end, at(0));
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
        core.accept(keyed(number, ["ada", "bob"][number as usize % 2]), at(0)).unwrap();
    }
    core.accepted(at(0));
    let (_, deliveries) = take(&mut core, 0, 0, at(0)).unwrap();
    core.abandon(at(0));
    let totals = core.totals();
    assert_eq!((totals.buffered, totals.in_flight, totals.all_dropped()), (0, 2, 6));
    check(&core);
    core.finish(0, ConsumerId(0), &deliveries, ok(), at(0));
    assert!(core.is_empty());
    check(&core);
}

// === dispatchers that break their contract ===

/// Does what a test tells it.
#[derive(Debug)]
struct Wrong(fn(&Offer, &mut Vec<Assignment>) -> Result<(), Broken>);

impl Dispatcher for Wrong {
    fn name(&self) -> &str {
        "wrong"
    }
    fn subscribe(&mut self, _: ConsumerId, _: &Subscription) -> Result<(), Broken> {
        Ok(())
    }
    fn cancel(&mut self, _: ConsumerId) -> Result<(), Broken> {
        Ok(())
    }
    fn ask(&mut self, _: ConsumerId, _: u32) -> Result<(), Broken> {
        Ok(())
    }
    fn dispatch(&mut self, offer: &Offer, assigned: &mut Vec<Assignment>) -> Result<(), Broken> {
        (self.0)(offer, assigned)
    }
    fn is_guest(&self) -> bool {
        true
    }
}

fn to(offer: &Offer, at: usize, consumer: u32) -> Assignment {
    Assignment { event: offer.events[at], consumer: ConsumerId(consumer) }
}

#[test]
fn a_wrong_dispatcher_is_replaced_and_nothing_is_lost() {
    type Wrongs = (fn(&Offer, &mut Vec<Assignment>) -> Result<(), Broken>, &'static str);
    let wrongs: [Wrongs; 6] = [
        (
            |offer, assigned| {
                assigned.extend((0..offer.events.len()).map(|at| to(offer, at, 0)));
                Ok(())
            },
            "more than it asked for",
        ),
        (
            |offer, assigned| {
                assigned.extend([to(offer, 0, 0), to(offer, 0, 0)]);
                Ok(())
            },
            "assigned before",
        ),
        (
            |_, assigned| {
                let event = EventId::from_number(12 << 32 | 7).unwrap();
                assigned.push(Assignment { event, consumer: ConsumerId(0) });
                Ok(())
            },
            "never offered",
        ),
        (
            |offer, assigned| {
                assigned.push(to(offer, 1, 9));
                Ok(())
            },
            "consumer 9, which has not subscribed",
        ),
        (|_, _| Ok(()), "forgot 5 events"),
        (
            |offer, assigned| {
                assigned.push(to(offer, 2, 0));
                Err(Broken::Failed("out of fuel".to_owned()))
            },
            "out of fuel",
        ),
    ];
    for (wrong, problem) in wrongs {
        let stage =
            StageConfig { dispatcher: Box::new(Wrong(wrong)), consumers: vec![consumer(3, 0)] };
        let mut core = Core::new(config(), vec![stage], 1);
        accept(&mut core, 0..5);
        let outputs = outputs(&mut core);
        let [Output::Replaced { why, .. }] = outputs.as_slice() else { panic!("{outputs:?}") };
        assert!(why.to_string().contains(problem), "{why}");
        check(&core);
        let mut handled = drain(&mut core, 0).concat();
        handled.sort_unstable();
        assert_eq!(handled, [0, 1, 2, 3, 4], "{problem}");
        check(&core);
    }
}

/// Lets one event out at a time, however many are asked for.
#[derive(Debug, Default)]
struct OneByOne {
    waiting: Vec<EventId>,
    out: usize,
}

impl Dispatcher for OneByOne {
    fn name(&self) -> &str {
        "one by one"
    }
    fn subscribe(&mut self, _: ConsumerId, _: &Subscription) -> Result<(), Broken> {
        Ok(())
    }
    fn cancel(&mut self, _: ConsumerId) -> Result<(), Broken> {
        Ok(())
    }
    fn ask(&mut self, _: ConsumerId, _: u32) -> Result<(), Broken> {
        Ok(())
    }
    fn dispatch(&mut self, offer: &Offer, assigned: &mut Vec<Assignment>) -> Result<(), Broken> {
        self.waiting.extend(&offer.events);
        self.out -= offer.finished.len();
        if self.out == 0 && !self.waiting.is_empty() {
            let event = self.waiting.remove(0);
            assigned.push(Assignment { event, consumer: ConsumerId(0) });
            self.out = 1;
        }
        Ok(())
    }
    fn wants(&self) -> Wants {
        Wants { finished: true, ..Wants::default() }
    }
    fn is_guest(&self) -> bool {
        true
    }
}

/// What one holds back is asked for again when something ends, although the
/// consumer does not ask anew after each.
#[test]
fn a_dispatcher_that_holds_back_is_asked_when_something_ends() {
    let dispatcher = Box::<OneByOne>::default();
    let mut core =
        Core::new(config(), vec![StageConfig { dispatcher, consumers: vec![consumer(4, 0)] }], 1);
    accept(&mut core, 0..6);
    assert_eq!(drain(&mut core, 0), [[0], [1], [2], [3], [4], [5]]);
    assert!(outputs(&mut core).is_empty(), "it did as it has to");
}

// === whatever happens ===

/// One thing that happens to a pipeline.
#[derive(Clone, Debug)]
enum Step {
    Accept {
        key: Option<u8>,
    },
    /// A consumer begins a call, if it can.
    Take {
        consumer: u8,
        allowed: u8,
    },
    /// One of the calls under way ends.
    Finish {
        call: u8,
        end: Ending,
    },
    Subscribe {
        max: u8,
        min: u8,
        concurrency: u8,
    },
    Cancel {
        consumer: u8,
    },
    Swap {
        wrong: bool,
    },
    Wait {
        ms: u16,
    },
}

#[derive(Clone, Debug)]
enum Ending {
    Ok,
    Crash,
    Unavailable,
    /// Verdicts by place, as far as there are events.
    Mixed(Vec<u8>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ending = prop_oneof![
        4 => Just(Ending::Ok),
        1 => Just(Ending::Crash),
        1 => Just(Ending::Unavailable),
        2 => proptest::collection::vec(0..4_u8, 0..8).prop_map(Ending::Mixed),
    ];
    let step = prop_oneof![
        8 => proptest::option::of(0..4_u8).prop_map(|key| Step::Accept { key }),
        6 => (0..6_u8, 0..12_u8).prop_map(|(consumer, allowed)| Step::Take { consumer, allowed }),
        6 => (any::<u8>(), ending).prop_map(|(call, end)| Step::Finish { call, end }),
        1 => (1..12_u8, 0..12_u8, 1..4_u8).prop_map(|(max, min, concurrency)| {
            Step::Subscribe { max, min: min % max, concurrency }
        }),
        1 => (0..6_u8).prop_map(|consumer| Step::Cancel { consumer }),
        1 => any::<bool>().prop_map(|wrong| Step::Swap { wrong }),
        2 => (0..500_u16).prop_map(|ms| Step::Wait { ms }),
    ];
    proptest::collection::vec(step, 0..200)
}

/// A pipeline, and what has to be true of it.
struct Run {
    core: Core,
    now_ms: u64,
    accepted: u32,
    /// Keys of the events, by number.
    keys: Vec<Option<u8>>,
    calls: Vec<Call>,
    limits: Vec<(u32, u32)>,
    started: HashMap<u32, u32>,
    ended: HashSet<u32>,
    /// The last event of each key that started, if order is kept.
    last: BTreeMap<u8, u32>,
}

struct Call {
    consumer: ConsumerId,
    numbers: Vec<u32>,
    deliveries: Vec<Delivery>,
}

impl Run {
    fn new(config: CoreConfig) -> Self {
        let core = Core::new(config, vec![demand_stage(vec![consumer(4, 2), consumer(3, 0)])], 7);
        Self {
            core,
            now_ms: 0,
            accepted: 0,
            keys: Vec::new(),
            calls: Vec::new(),
            limits: vec![(4, 1), (3, 1)],
            started: HashMap::new(),
            ended: HashSet::new(),
            last: BTreeMap::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let now = at(self.now_ms);
        match step {
            Step::Accept { key } => {
                let number = self.accepted;
                let key_text = key.map(|key| key.to_string().into());
                let event = NewEvent { key: key_text, ..event(number) };
                if self.core.accept(event, now).is_ok() {
                    self.accepted += 1;
                    self.keys.push(key);
                }
                self.core.accepted(now);
            }
            Step::Take { consumer, allowed } => self.take(consumer.into(), allowed.into()),
            Step::Finish { call, end } => {
                if !self.calls.is_empty() {
                    let call = usize::from(call) % self.calls.len();
                    self.finish(call, end);
                }
            }
            Step::Subscribe { max, min, concurrency } => {
                if self.limits.len() < 6 {
                    let config = ConsumerConfig {
                        concurrency: concurrency.into(),
                        ..consumer(max.into(), min.into())
                    };
                    self.core.subscribe(0, config, now).unwrap();
                    self.limits.push((max.into(), concurrency.into()));
                }
            }
            Step::Cancel { consumer } => {
                self.core.cancel(0, ConsumerId(consumer.into()), now);
            }
            Step::Swap { wrong } => {
                let forgetful: fn(&Offer, &mut Vec<Assignment>) -> _ = |_, _| Ok(());
                let dispatcher: Box<dyn Dispatcher> = match wrong {
                    true => Box::new(Wrong(forgetful)),
                    false => Box::<DemandDispatcher>::default(),
                };
                self.core.replace_dispatcher(0, dispatcher, None, now);
            }
            Step::Wait { ms } => {
                self.now_ms += u64::from(ms);
                self.core.tick(at(self.now_ms));
            }
        }
        self.check();
    }

    fn take(&mut self, consumer: u32, allowed: usize) {
        if consumer as usize >= self.limits.len() {
            return;
        }
        let mut batch = Batch::default();
        let consumer = ConsumerId(consumer);
        let next = self.core.take(0, consumer, allowed, at(self.now_ms), &mut batch);
        if next != Next::Call {
            return;
        }
        let numbers = numbers(&batch);
        for number in &numbers {
            assert!(!self.ended.contains(number), "{number} was handled, and comes again");
            *self.started.entry(*number).or_default() += 1;
            if let Some(key) = self.keys[*number as usize].filter(|_| self.core.config.ordered) {
                let running =
                    |call: &Call| call.numbers.iter().any(|n| self.keys[*n as usize] == Some(key));
                assert!(!self.calls.iter().any(running), "two of key {key} at a time");
                let last = self.last.insert(key, *number);
                assert!(
                    last.is_none_or(|last| last <= *number),
                    "{number} of key {key} after {last:?}"
                );
            }
        }
        self.calls.push(Call { consumer, numbers, deliveries: batch.deliveries });
    }

    fn finish(&mut self, call: usize, end: Ending) {
        let Call { consumer, numbers, deliveries } = self.calls.swap_remove(call);
        let verdict = |verdict: u8| match verdict {
            0 => Verdict::Ok,
            1 => Verdict::Drop { reason: String::new() },
            2 => Verdict::Fail { reason: String::new() },
            _ => Verdict::Retry { after_ms: None, reason: String::new() },
        };
        let end = match end {
            Ending::Ok => ok(),
            Ending::Crash => crash(),
            Ending::Unavailable => CallEnd::Unavailable { retry_after: Duration::from_millis(10) },
            Ending::Mixed(verdicts) => {
                let verdicts = verdicts.into_iter().map(verdict).take(deliveries.len());
                CallEnd::Answered((0..).zip(verdicts).collect())
            }
        };
        if let CallEnd::Answered(exceptions) = &end {
            for (at, number) in (0_u32..).zip(&numbers) {
                let again = |(of, verdict): &(u32, Verdict)| {
                    *of == at && matches!(verdict, Verdict::Retry { .. })
                };
                if !exceptions.iter().any(again) {
                    self.ended.insert(*number);
                }
            }
        }
        self.core.finish(0, consumer, &deliveries, end, at(self.now_ms));
    }

    fn check(&self) {
        let totals = self.core.totals();
        assert!(totals.is_conserved(), "{totals:?}");
        assert_eq!(totals.accepted, u64::from(self.accepted));
        let max_demand: u32 = self.limits.iter().map(|(max, _)| max).sum();
        let bound = self.core.config.size as u64 + u64::from(max_demand);
        assert!(totals.buffered + totals.in_flight <= bound, "{totals:?}");
        for (id, (max, concurrency)) in (0..).map(ConsumerId).zip(&self.limits) {
            let calls = self.calls.iter().filter(|call| call.consumer == id);
            let (running, calls) = calls
                .fold((0, 0), |(events, calls), call| (events + call.numbers.len(), calls + 1));
            assert!(running <= *max as usize, "{running} in work, {max} allowed");
            assert!(calls <= *concurrency, "{calls} calls, {concurrency} allowed");
        }
    }

    /// Lets everything come to an end.
    fn end(mut self) {
        self.step(Step::Swap { wrong: false });
        self.core.subscribe(0, consumer(4, 2), at(self.now_ms)).unwrap();
        self.limits.push((4, 1));
        for _ in 0..10_000 {
            while !self.calls.is_empty() {
                self.finish(0, Ending::Ok);
            }
            for consumer in 0..self.limits.len() {
                self.take(consumer as u32, usize::MAX);
            }
            self.check();
            if self.core.is_empty() {
                break;
            }
            self.now_ms += 100;
            self.core.tick(at(self.now_ms));
        }
        let totals = self.core.totals();
        assert_eq!((totals.buffered, totals.in_flight), (0, 0), "{totals:?}");
        assert_eq!((totals.bytes, totals.keys), (0, 0));
        assert_eq!(totals.done + totals.failed + totals.all_dropped(), u64::from(self.accepted));
        let stage = &self.core.stages[0];
        for consumer in stage.consumers.iter().filter(|c| !c.cancelled) {
            let limits = consumer.config.demand;
            assert_eq!(consumer.asked, consumer.demand.outstanding(), "demand has leaked");
            assert!(consumer.asked > limits.max() - limits.max_batch(), "it waits for nothing");
        }
        let asked: u32 = stage.consumers.iter().map(|consumer| consumer.asked).sum();
        assert_eq!(stage.asked, asked);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_doubled_or_over_sent(
        steps in steps(),
        ordered: bool,
        on_full in prop_oneof![
            Just(OnFull::Reject), Just(OnFull::KeepFirst), Just(OnFull::KeepLast)
        ],
        max_per_key in 0..4_usize,
    ) {
        let mut run = Run::new(CoreConfig { size: 12, ordered, on_full, max_per_key, ..config() });
        for step in steps {
            run.step(step);
        }
        run.end();
    }
}
