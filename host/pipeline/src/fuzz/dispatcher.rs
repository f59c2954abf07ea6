//! Fuzzing of the core: dispatchers and workers answer whatever the bytes say.

use std::time::Duration;

use bytes::Bytes;
use millrace_choices::Choices;

use crate::consumer::{ConsumerConfig, Delivery};
use crate::core::{CallEnd, Core, CoreConfig, Next, StageConfig};
use crate::demand::DemandLimits;
use crate::dispatcher::{DemandDispatcher, NOBODY};
use crate::event::StageConsumer;
use crate::{
    Assignment, Batch, Columns, ConsumerId, DispatchError, Dispatcher, EventId, NewEvent, Now,
    Offer, OnFull, RetryPolicy, Subscription, Verdict,
};

const CONSUMERS: u32 = 3;
const SIZE: usize = 8;
const MAX_DEMAND: u32 = 4;

/// Runs a pipeline whose dispatcher and workers answer as the bytes say. After each step all events
/// are accounted for, and none is with two consumers. Once a dispatcher and workers that keep the
/// contract take over, all events end.
pub fn dispatcher(bytes: &[u8]) {
    let mut input = Choices::new(bytes);
    let Some(mut run) = Run::new(&mut input) else { return };
    while !input.is_empty() {
        run.step(&mut input);
        run.check();
    }
    run.end();
}

/// A dispatcher that assigns as its bytes say: events that were offered, or others.
#[derive(Debug)]
struct Wild {
    answers: Vec<u8>,
    offered: Vec<EventId>,
    at: usize,
}

impl Wild {
    fn next(&mut self) -> usize {
        self.at += 1;
        self.answers.get(self.at - 1).copied().unwrap_or_default().into()
    }
}

impl Dispatcher for Wild {
    fn name(&self) -> &str {
        "wild"
    }

    fn subscribe(&mut self, _: ConsumerId, _: &Subscription) -> Result<(), DispatchError> {
        Ok(())
    }

    fn cancel(&mut self, _: ConsumerId) -> Result<(), DispatchError> {
        Ok(())
    }

    fn ask(&mut self, _: ConsumerId, _: u32) -> Result<(), DispatchError> {
        Ok(())
    }

    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError> {
        self.offered.extend(&offer.events);
        for _ in 0..self.next() % 5 {
            let (at, consumer) = (self.next(), self.next());
            let found = at.checked_rem(self.offered.len()).unwrap_or(0);
            let event = match self.offered.get(found).copied() {
                // Mostly an event that it has not assigned yet.
                Some(event) if at < 200 => {
                    self.offered.swap_remove(found);
                    event
                }
                Some(event) => event.successor(),
                None => EventId::NONE,
            };
            let consumer = match consumer {
                255 => NOBODY,
                other => ConsumerId(other as u32 % (CONSUMERS + 1)),
            };
            assigned.push(Assignment { event, consumer });
        }
        if self.next() == 255 {
            return Err(DispatchError::Failed("it trapped".to_owned()));
        }
        Ok(())
    }

    fn columns(&self) -> Columns {
        Columns { keys: true, key_texts: true, finished: true, ..Columns::default() }
    }

    fn is_guest(&self) -> bool {
        true
    }
}

struct Run {
    core: Core,
    now: Now,
    accepted: u64,
    calls: Vec<(ConsumerId, Vec<Delivery>)>,
}

impl Run {
    fn new(input: &mut Choices<'_>) -> Option<Self> {
        let retry = RetryPolicy {
            max_attempts: 3,
            backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(1),
        };
        let config = CoreConfig {
            size: SIZE,
            max_bytes: 100,
            max_per_key: input.below(4),
            on_full: [OnFull::Reject, OnFull::KeepFirst, OnFull::KeepLast]
                .into_iter()
                .nth(input.below(3))?,
            retry,
            deadline: None,
            ordered: input.bool(),
            keep_dropped: input.bool(),
        };
        let consumer = |_| {
            Some(ConsumerConfig {
                subscription: Subscription { max_demand: MAX_DEMAND, ..Subscription::default() },
                demand: DemandLimits::new(MAX_DEMAND, Some(1)).ok()?,
                batch_size: MAX_DEMAND,
                batch_timeout_ns: 0,
                concurrency: 2,
            })
        };
        let consumers = (0..CONSUMERS).map(consumer).collect::<Option<_>>()?;
        let stage = StageConfig { dispatcher: wild(input), consumers };
        let core = Core::new(config, vec![stage], 7);
        Some(Self { core, now: Now(0), accepted: 0, calls: Vec::new() })
    }

    fn step(&mut self, input: &mut Choices<'_>) {
        match input.below(7) {
            0 | 1 => {
                let key = input.bool().then(|| input.below(3).to_string().into());
                let payload = Bytes::copy_from_slice(input.bytes());
                let event = NewEvent { payload, key, ..NewEvent::default() };
                self.accepted += u64::from(self.core.accept_one(event, self.now).is_ok());
                self.core.dispatch_accepted(self.now);
            }
            2 | 3 => self.take(ConsumerId(input.below(CONSUMERS as usize) as u32)),
            4 => {
                if !self.calls.is_empty() {
                    let call = self.calls.swap_remove(input.below(self.calls.len()));
                    let end = ending(input, call.1.len());
                    self.core.finish(first_stage(call.0), &call.1, end, self.now);
                }
            }
            5 => {
                let wild = wild(input);
                self.core.replace_dispatcher(0, wild, None, self.now);
            }
            _ => self.wait(u64::from(input.byte())),
        }
    }

    fn take(&mut self, consumer: ConsumerId) {
        let mut batch = Batch::default();
        if self.core.take(first_stage(consumer), usize::MAX, self.now, &mut batch) == Next::Call {
            assert!(!batch.deliveries.is_empty());
            self.calls.push((consumer, batch.deliveries));
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now = Now(self.now.0 + ms * 10_000_000);
        self.core.tick(self.now);
    }

    fn check(&mut self) {
        self.core.take_outputs(&mut Vec::new());
        let totals = self.core.totals();
        assert!(totals.is_conserved(), "{totals:?}");
        assert_eq!(totals.accepted, self.accepted);
        let bound = SIZE as u64 + u64::from(CONSUMERS * MAX_DEMAND);
        assert!(totals.buffered + totals.in_flight <= bound, "{totals:?}");
        let mut with: Vec<_> = self.calls.iter().flat_map(|(_, events)| events).collect();
        let all = with.len();
        with.sort_unstable_by_key(|delivery| delivery.event);
        with.dedup_by_key(|delivery| delivery.event);
        assert_eq!(with.len(), all, "an event is with two");
        for id in (0..CONSUMERS).map(ConsumerId) {
            let mine = self.calls.iter().filter(|(consumer, _)| *consumer == id);
            let events: usize = mine.map(|(_, events)| events.len()).sum();
            assert!(events <= MAX_DEMAND as usize, "{events} are with one consumer");
        }
    }

    fn end(mut self) {
        self.core.replace_dispatcher(0, Box::<DemandDispatcher>::default(), None, self.now);
        for _ in 0..1_000 {
            while let Some((consumer, events)) = self.calls.pop() {
                let done = CallEnd::Answered(Vec::new());
                self.core.finish(first_stage(consumer), &events, done, self.now);
            }
            (0..CONSUMERS).for_each(|id| self.take(ConsumerId(id)));
            self.check();
            if self.core.is_empty() {
                break;
            }
            self.wait(20);
        }
        let totals = self.core.totals();
        assert_eq!((totals.buffered, totals.in_flight, totals.bytes, totals.keys), (0, 0, 0, 0));
    }
}

fn first_stage(id: ConsumerId) -> StageConsumer {
    StageConsumer { stage: 0, id }
}

fn wild(input: &mut Choices<'_>) -> Box<dyn Dispatcher> {
    Box::new(Wild { answers: input.bytes().to_vec(), offered: Vec::new(), at: 0 })
}

fn ending(input: &mut Choices<'_>, events: usize) -> CallEnd {
    match input.below(4) {
        0 => CallEnd::Failed { reason: String::new() },
        1 => CallEnd::Unavailable { retry_after: Duration::from_millis(10) },
        _ => {
            let verdict = |input: &mut Choices<'_>| match input.below(5) {
                0 => Verdict::Ok,
                1 => Verdict::Drop { reason: input.text() },
                2 => Verdict::Fail { reason: input.text() },
                3 => Verdict::Retry {
                    after_ms: input.bool().then(|| input.number() % 1_000),
                    reason: input.text(),
                },
                _ => Verdict::Forward(Bytes::copy_from_slice(input.bytes())),
            };
            let mut verdicts = Vec::new();
            for at in 0..events as u32 {
                if input.bool() {
                    verdicts.push((at, verdict(input)));
                }
            }
            CallEnd::Answered(verdicts)
        }
    }
}
