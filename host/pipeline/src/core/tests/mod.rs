//! Tests of the core: GenStage's behaviour, and properties that hold whatever happens.

mod demand;
mod dispatchers;
mod failures;
mod properties;
mod run;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::consumer::Delivery;
use crate::demand::DemandLimits;
use crate::dispatcher::{
    Assignment, BroadcastDispatcher, Columns, DemandDispatcher, Offer, PartitionDispatcher,
    Subscription,
};
use crate::event::{NewEvent, Verdict};

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

/// Enqueues the events with these numbers. Returns how many were accepted.
fn accept(core: &mut Core, numbers: std::ops::Range<u32>) -> usize {
    let taken = numbers.filter(|number| core.accept_one(event(*number), at(0)).is_ok()).count();
    core.dispatch_accepted(at(0));
    taken
}

/// Takes the next batch of a consumer; `None` when it has to wait.
fn take(core: &mut Core, stage: usize, id: u32, now: Now) -> Option<(Vec<u32>, Vec<Delivery>)> {
    let mut batch = Batch::default();
    match core.take(StageConsumer::new(stage, id), usize::MAX, now, &mut batch) {
        Next::Call => Some((numbers(&batch), batch.deliveries)),
        Next::Wait(_) => None,
    }
}

fn numbers(batch: &Batch) -> Vec<u32> {
    let mut from = 0;
    let mut number = |[_, end, ..]: &Row| {
        let payload = &batch.payloads[from..*end as usize];
        from = *end as usize;
        std::str::from_utf8(payload).unwrap().parse().unwrap()
    };
    batch.rows.iter().map(&mut number).collect()
}

fn ok() -> CallEnd {
    CallEnd::Answered(Vec::new())
}

fn crash() -> CallEnd {
    CallEnd::Failed { reason: "it trapped".to_owned() }
}

/// Handles all events that one consumer gets. Returns its batches.
fn drain(core: &mut Core, id: u32) -> Vec<Vec<u32>> {
    let mut batches = Vec::new();
    while let Some((numbers, deliveries)) = take(core, 0, id, at(0)) {
        batches.push(numbers);
        core.finish(StageConsumer::new(0, id), &deliveries, ok(), at(0));
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
