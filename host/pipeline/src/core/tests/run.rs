//! A pipeline that is taken through steps, and the properties that hold after each.

use std::collections::{BTreeMap, HashSet};

use super::dispatchers::{Sabotage, Saboteur};
use super::*;

/// A step that happens to a pipeline. A step for a stage or a consumer that is not there does
/// nothing.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Accept {
        key: Option<u8>,
        selected: Option<u8>,
    },
    /// A consumer starts a call, if it can.
    Take {
        stage: u8,
        consumer: u8,
        allowed: u8,
    },
    /// One of the calls under way ends.
    Finish {
        call: u8,
        end: Ending,
    },
    Subscribe {
        stage: u8,
        max: u8,
        min: u8,
        calls: u8,
    },
    Cancel {
        stage: u8,
        consumer: u8,
    },
    /// A stage gets another dispatcher, perhaps one that breaks its contract after that many
    /// calls.
    Swap {
        stage: u8,
        sabotage: Option<(Sabotage, u8)>,
    },
    Wait {
        ms: u16,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Ending {
    Ok,
    Crash,
    Unavailable,
    /// Verdicts on the first events of the batch.
    Mixed(Vec<u8>),
}

/// The dispatcher of a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Demand,
    Partition,
    Broadcast,
}

/// The number of consumers of a stage at most, and so of partitions.
const MAX_CONSUMERS: usize = 6;

pub(super) struct Run {
    core: Core,
    now_ms: u64,
    accepted: u32,
    /// The keys of the events, by the event's number.
    keys: Vec<Option<u8>>,
    calls: Vec<Call>,
    stages: Vec<Stage>,
    /// The ends of events: a stage, a consumer if it is a broadcast (else 0), and an event that
    /// ended there.
    ended: HashSet<(usize, u32, u32)>,
    /// The events that were started, by stage.
    begun: HashSet<(usize, u32)>,
    /// The last event of each key that started, by stage.
    last: BTreeMap<(usize, u8), u32>,
    /// Whether events of a key have to start in order although `ordered` is off.
    pub(super) starts_in_order: bool,
}

struct Stage {
    kind: Kind,
    /// The number of events and of calls that each consumer may have under way, and whether it
    /// left.
    consumers: Vec<(u32, u32, bool)>,
}

struct Call {
    stage: usize,
    consumer: ConsumerId,
    numbers: Vec<u32>,
    deliveries: Vec<Delivery>,
}

impl Kind {
    fn dispatcher(self) -> Box<dyn Dispatcher> {
        match self {
            Self::Demand => Box::<DemandDispatcher>::default(),
            Self::Partition => Box::new(PartitionDispatcher::new(MAX_CONSUMERS as u32)),
            Self::Broadcast => Box::<BroadcastDispatcher>::default(),
        }
    }
}

impl Run {
    pub(super) fn new(config: CoreConfig, kinds: &[Kind], consumers: &[(u32, u32)]) -> Self {
        let stage =
            |kind: &Kind| StageConfig { dispatcher: kind.dispatcher(), consumers: Vec::new() };
        let core = Core::new(config, kinds.iter().map(stage).collect(), 7);
        let stages = kinds.iter().map(|kind| Stage { kind: *kind, consumers: Vec::new() });
        let mut run = Self {
            core,
            now_ms: 0,
            accepted: 0,
            keys: Vec::new(),
            calls: Vec::new(),
            stages: stages.collect(),
            ended: HashSet::new(),
            begun: HashSet::new(),
            last: BTreeMap::new(),
            starts_in_order: false,
        };
        for stage in 0..kinds.len() {
            for (max, min) in consumers {
                run.subscribe(stage, *max, *min, 1);
            }
        }
        run
    }

    pub(super) fn step(&mut self, step: Step) {
        let now = at(self.now_ms);
        match step {
            Step::Accept { key, selected } => self.accept(key, selected),
            Step::Take { stage, consumer, allowed } => {
                self.take(stage.into(), consumer.into(), allowed.into());
            }
            Step::Finish { call, end } => {
                if !self.calls.is_empty() {
                    let call = usize::from(call) % self.calls.len();
                    self.finish(call, end);
                }
            }
            Step::Subscribe { stage, max, min, calls } => {
                self.subscribe(stage.into(), max.into(), min.into(), calls.into());
            }
            Step::Cancel { stage, consumer } => self.cancel(stage.into(), consumer.into()),
            Step::Swap { stage, sabotage } => {
                let stage = usize::from(stage);
                let Some(Stage { kind, .. }) = self.stages.get(stage) else { return };
                let dispatcher: Box<dyn Dispatcher> = match sabotage {
                    // Whether events are copied is not for an operator to change.
                    Some((sabotage, after)) if *kind != Kind::Broadcast => {
                        Box::new(Saboteur::new(sabotage, after.into()))
                    }
                    _ => kind.dispatcher(),
                };
                self.core.replace_dispatcher(stage, dispatcher, None, now);
            }
            Step::Wait { ms } => {
                self.now_ms += u64::from(ms);
                self.core.tick(at(self.now_ms));
            }
        }
        self.check();
    }

    fn accept(&mut self, key: Option<u8>, selected: Option<u8>) {
        let (number, now) = (self.accepted, at(self.now_ms));
        let key_text = key.map(|key| key.to_string().into());
        let event = NewEvent { key: key_text, selected: selected.map(u64::from), ..event(number) };
        if self.core.accept_one(event, now).is_ok() {
            self.accepted += 1;
            self.keys.push(key);
        }
        self.core.dispatch_accepted(now);
    }

    fn subscribe(&mut self, stage: usize, max: u32, min: u32, calls: u32) {
        let Some(Stage { kind, consumers }) = self.stages.get_mut(stage) else { return };
        if consumers.len() >= MAX_CONSUMERS {
            return;
        }
        let mut config = ConsumerConfig { concurrency: calls, ..consumer(max, min) };
        if *kind == Kind::Partition {
            // One call at a time is what keeps a partition's order.
            config.concurrency = 1;
        }
        config.subscription.partition = Some(consumers.len() as u32);
        config.subscription.selector = 1 << (consumers.len() % 3);
        consumers.push((max, config.concurrency, false));
        self.core.subscribe(stage, config, at(self.now_ms)).unwrap();
    }

    fn cancel(&mut self, stage: usize, consumer: u32) {
        if let Some(Stage { consumers, .. }) = self.stages.get_mut(stage)
            && let Some((_, _, left)) = consumers.get_mut(consumer as usize)
        {
            *left = true;
            self.core.cancel(StageConsumer::new(stage, consumer), at(self.now_ms));
        }
    }

    fn take(&mut self, stage: usize, consumer: u32, allowed: usize) {
        let consumers = self.stages.get(stage).map_or(0, |stage| stage.consumers.len());
        if consumer as usize >= consumers {
            return;
        }
        let mut batch = Batch::default();
        let consumer = ConsumerId(consumer);
        let next = self.core.take(
            StageConsumer { stage, id: consumer },
            allowed,
            at(self.now_ms),
            &mut batch,
        );
        if next != Next::Call {
            return;
        }
        let numbers = numbers(&batch);
        for number in &numbers {
            let by = self.by(stage, consumer);
            let again = self.ended.contains(&(stage, by, *number));
            assert!(!again, "{number} was handled in stage {stage}, and comes again");
            if let Some(key) = self.keys[*number as usize] {
                self.started(stage, key, *number);
            }
        }
        self.calls.push(Call { stage, consumer, numbers, deliveries: batch.deliveries });
    }

    /// The consumer that ends an event of a stage, if it matters which one: in a broadcast.
    fn by(&self, stage: usize, consumer: ConsumerId) -> u32 {
        if self.stages[stage].kind == Kind::Broadcast { consumer.0 } else { 0 }
    }

    fn started(&mut self, stage: usize, key: u8, number: u32) {
        if self.core.config.ordered {
            let other = |n: &u32| self.keys[*n as usize] == Some(key) && *n != number;
            let running = |call: &Call| call.numbers.iter().any(other);
            assert!(!self.calls.iter().any(running), "two of key {key} at a time");
        }
        if self.core.config.ordered || self.starts_in_order {
            let last = self.last.entry((stage, key)).or_insert(number);
            let is_again = !self.begun.insert((stage, number)) && !self.core.config.ordered;
            assert!(*last <= number || is_again, "{number} of key {key} after {last}");
            *last = number.max(*last);
        }
    }

    fn finish(&mut self, call: usize, end: Ending) {
        let Call { stage, consumer, numbers, deliveries } = self.calls.swap_remove(call);
        let verdict = |(at, verdict): (usize, u8)| match verdict {
            0 => Verdict::Ok,
            1 => Verdict::Drop { reason: String::new() },
            2 => Verdict::Fail { reason: String::new() },
            3 => Verdict::Retry { after_ms: None, reason: String::new() },
            _ => Verdict::Forward(Bytes::from(format!("{:09}", numbers[at]))),
        };
        let end = match end {
            Ending::Ok => ok(),
            Ending::Crash => crash(),
            Ending::Unavailable => CallEnd::Unavailable { retry_after: Duration::from_millis(10) },
            Ending::Mixed(verdicts) => {
                let verdicts = verdicts.into_iter().take(deliveries.len()).enumerate();
                CallEnd::Answered((0..).zip(verdicts.map(verdict)).collect())
            }
        };
        if let CallEnd::Answered(exceptions) = &end {
            for (at, number) in (0_u32..).zip(&numbers) {
                let again = |(of, verdict): &(u32, Verdict)| {
                    *of == at && matches!(verdict, Verdict::Retry { .. })
                };
                if !exceptions.iter().any(again) {
                    let by = self.by(stage, consumer);
                    self.ended.insert((stage, by, *number));
                }
            }
        }
        self.core.finish(StageConsumer { stage, id: consumer }, &deliveries, end, at(self.now_ms));
    }

    fn check(&mut self) {
        for output in outputs(&mut self.core) {
            if let Output::Replaced { dispatcher, why, .. } = output {
                assert_eq!(dispatcher, "saboteur", "{why}");
            }
        }
        let totals = self.core.totals();
        assert!(totals.is_conserved(), "{totals:?}");
        assert_eq!(totals.accepted, u64::from(self.accepted));
        let consumers = self.stages.iter().flat_map(|stage| &stage.consumers);
        let max_demand: u32 = consumers.map(|(max, ..)| max).sum();
        let bound = self.core.config.size as u64 + u64::from(max_demand);
        assert!(totals.buffered + totals.in_flight <= bound, "{totals:?}");
        for (stage, Stage { consumers, .. }) in self.stages.iter().enumerate() {
            for (id, (max, concurrency, _)) in (0..).map(ConsumerId).zip(consumers) {
                let calls = self.calls.iter().filter(|c| c.stage == stage && c.consumer == id);
                let (running, calls) = calls
                    .fold((0, 0), |(events, calls), call| (events + call.numbers.len(), calls + 1));
                assert!(running <= *max as usize, "{running} in work, {max} allowed");
                assert!(calls <= *concurrency, "{calls} calls, {concurrency} allowed");
            }
        }
    }

    /// Lets all events end, and checks that nothing is left.
    pub(super) fn end(mut self) {
        if !self.starts_in_order || self.stages[0].kind == Kind::Partition {
            self.staff();
        }
        for _ in 0..10_000 {
            while !self.calls.is_empty() {
                self.finish(0, Ending::Ok);
            }
            for stage in 0..self.stages.len() {
                for consumer in 0..self.stages[stage].consumers.len() {
                    self.take(stage, consumer as u32, usize::MAX);
                }
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
        for stage in &self.core.stages {
            for consumer in stage.consumers.iter().filter(|c| !c.cancelled) {
                let limits = consumer.config.demand;
                assert_eq!(consumer.asked, consumer.demand.outstanding(), "demand has leaked");
                assert!(consumer.asked > limits.max() - limits.max_batch(), "it waits for nothing");
            }
            let asked: u32 = stage.consumers.iter().map(|consumer| consumer.asked).sum();
            assert_eq!(stage.asked, asked);
        }
    }

    /// Adds consumers, so that each stage and each partition has one.
    fn staff(&mut self) {
        for stage in 0..self.stages.len() {
            while self.stages[stage].consumers.len() < MAX_CONSUMERS {
                self.subscribe(stage, 4, 2, 1);
            }
            let all_left = self.stages[stage].consumers.iter().all(|(_, _, left)| *left);
            let kind = self.stages[stage].kind;
            let vacant = |(id, (_, _, left)): (usize, &(u32, u32, bool))| left.then_some(id);
            let vacant: Vec<_> =
                self.stages[stage].consumers.iter().enumerate().filter_map(vacant).collect();
            let vacant = match kind {
                Kind::Partition => vacant,
                Kind::Demand | Kind::Broadcast if all_left => vec![0],
                Kind::Demand | Kind::Broadcast => Vec::new(),
            };
            for partition in vacant {
                let mut config = consumer(4, 2);
                config.subscription.partition = Some(partition as u32);
                self.stages[stage].consumers.push((4, 1, false));
                self.core.subscribe(stage, config, at(self.now_ms)).unwrap();
            }
        }
    }
}
