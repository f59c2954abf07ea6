//! Tests of dispatchers that break their contract, or hold events back.

use super::*;

/// A dispatcher that answers with a function of a test.
#[derive(Debug)]
struct Wrong(fn(&Offer, &mut Vec<Assignment>) -> Result<(), DispatchError>);

impl Dispatcher for Wrong {
    fn name(&self) -> &str {
        "wrong"
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
    type Wrongs = (fn(&Offer, &mut Vec<Assignment>) -> Result<(), DispatchError>, &'static str);
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
                Err(DispatchError::Failed("out of fuel".to_owned()))
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

/// A dispatcher that has one event in flight at a time, however many are asked for.
#[derive(Debug, Default)]
struct OneByOne {
    consumer: Option<ConsumerId>,
    waiting: Vec<EventId>,
    out: usize,
}

impl Dispatcher for OneByOne {
    fn name(&self) -> &str {
        "one by one"
    }
    fn subscribe(&mut self, consumer: ConsumerId, _: &Subscription) -> Result<(), DispatchError> {
        self.consumer = Some(consumer);
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
        self.waiting.retain(|event| !offer.withdrawn.contains(event));
        self.waiting.extend(&offer.events);
        self.out -= offer.finished.len();
        if let Some(consumer) = self.consumer.filter(|_| self.out == 0 && !self.waiting.is_empty())
        {
            let event = self.waiting.remove(0);
            assigned.push(Assignment { event, consumer });
            self.out = 1;
        }
        Ok(())
    }
    fn columns(&self) -> Columns {
        Columns { finished: true, ..Columns::default() }
    }
    fn is_guest(&self) -> bool {
        true
    }
}

/// A dispatcher that holds events back is called again when an event ends, although the consumer
/// does not ask again after each event.
#[test]
fn a_dispatcher_that_holds_back_is_asked_when_something_ends() {
    let dispatcher = Box::<OneByOne>::default();
    let mut core =
        Core::new(config(), vec![StageConfig { dispatcher, consumers: vec![consumer(4, 0)] }], 1);
    accept(&mut core, 0..6);
    assert_eq!(drain(&mut core, 0), [[0], [1], [2], [3], [4], [5]]);
    assert!(outputs(&mut core).is_empty(), "it did as it has to");
}

/// Events that a consumer had not started when it left are told as finished.
#[test]
fn a_dispatcher_is_told_of_what_comes_back() {
    let dispatcher = Box::<OneByOne>::default();
    let consumers = vec![consumer(4, 0)];
    let mut core = Core::new(config(), vec![StageConfig { dispatcher, consumers }], 1);
    accept(&mut core, 0..3);
    core.cancel(StageConsumer::new(0, 0), at(0));
    assert_eq!(core.totals().buffered, 3);
    assert!(outputs(&mut core).is_empty());
    core.subscribe(0, consumer(4, 0), at(0)).unwrap();
    let told = outputs(&mut core);
    assert!(told.is_empty(), "it was replaced: {told:?}");
    check(&core);
}

/// A way in which a dispatcher breaks its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sabotage {
    /// Sends all new events to the first consumer that asked.
    OverSends,
    /// Assigns an event a second time.
    Repeats,
    NamesUnknownEvents,
    NamesUnknownConsumers,
    /// Forgets all events for good.
    ForgetsAll,
    /// Forgets one event for good.
    ForgetsOne,
    /// Fails after it has assigned some events.
    FailsToDispatch,
    FailsToSubscribe,
    FailsToAsk,
    FailsToCancel,
    FailsToRestore,
}

impl Sabotage {
    pub(super) const ALL: [Self; 11] = [
        Self::OverSends,
        Self::Repeats,
        Self::NamesUnknownEvents,
        Self::NamesUnknownConsumers,
        Self::ForgetsAll,
        Self::ForgetsOne,
        Self::FailsToDispatch,
        Self::FailsToSubscribe,
        Self::FailsToAsk,
        Self::FailsToCancel,
        Self::FailsToRestore,
    ];
}

/// A dispatcher that works as `demand` for some calls, and then breaks its contract.
#[derive(Debug)]
pub(super) struct Saboteur {
    sabotage: Sabotage,
    /// The number of calls before it breaks its contract.
    calls: u32,
    inner: DemandDispatcher,
    /// The last assignment.
    assigned: Option<Assignment>,
    asked: Option<ConsumerId>,
}

impl Saboteur {
    pub(super) fn new(sabotage: Sabotage, calls: u32) -> Self {
        let inner = DemandDispatcher::default();
        Self { sabotage, calls, inner, assigned: None, asked: None }
    }

    /// Fails when this is its sabotage, and the time for that has come.
    fn fails(&mut self, at: Sabotage) -> Result<(), DispatchError> {
        if self.sabotage == at && self.is_time() {
            return Err(DispatchError::Failed(format!("{at:?}")));
        }
        Ok(())
    }

    fn is_time(&mut self) -> bool {
        let is_time = self.calls == 0;
        self.calls = self.calls.saturating_sub(1);
        is_time
    }
}

impl Dispatcher for Saboteur {
    fn name(&self) -> &str {
        "saboteur"
    }

    fn subscribe(
        &mut self,
        consumer: ConsumerId,
        options: &Subscription,
    ) -> Result<(), DispatchError> {
        self.fails(Sabotage::FailsToSubscribe)?;
        self.inner.subscribe(consumer, options)
    }

    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError> {
        self.fails(Sabotage::FailsToCancel)?;
        self.inner.cancel(consumer)
    }

    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError> {
        self.fails(Sabotage::FailsToAsk)?;
        self.asked = self.asked.or(Some(consumer));
        self.inner.ask(consumer, demand)
    }

    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError> {
        self.inner.dispatch(offer, assigned)?;
        self.fails(Sabotage::FailsToDispatch)?;
        if self.is_time() {
            let first = self.asked.unwrap_or(ConsumerId(0));
            match self.sabotage {
                Sabotage::OverSends => {
                    let more = offer.events.iter().map(|event| (*event, first));
                    let more = more.map(|(event, consumer)| Assignment { event, consumer });
                    assigned.clear();
                    assigned.extend(more);
                    self.calls = 0;
                }
                Sabotage::Repeats => assigned.extend(self.assigned),
                Sabotage::NamesUnknownEvents => {
                    let event = EventId::from_number(77 << 32 | 5).unwrap();
                    assigned.push(Assignment { event, consumer: first });
                }
                Sabotage::NamesUnknownConsumers => {
                    assigned.iter_mut().for_each(|one| one.consumer = ConsumerId(99));
                }
                Sabotage::ForgetsAll => {
                    assigned.clear();
                    self.inner = DemandDispatcher::default();
                    self.calls = 0;
                }
                Sabotage::ForgetsOne => {
                    assigned.pop();
                }
                _ => {}
            }
        }
        self.assigned = assigned.last().copied();
        Ok(())
    }

    fn is_guest(&self) -> bool {
        true
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), DispatchError> {
        self.fails(Sabotage::FailsToRestore)
    }

    fn snapshot(&mut self) -> Option<Vec<u8>> {
        Some(Vec::new())
    }
}

/// A dispatcher that fails with the first of several consumers is replaced by one that is told
/// each of them once.
#[test]
fn one_that_does_not_take_consumers_is_replaced_once() {
    let stage = demand_stage(vec![consumer(2, 0), consumer(2, 0), consumer(2, 0)]);
    let mut core = Core::new(config(), vec![stage], 1);
    let saboteur = Box::new(Saboteur::new(Sabotage::FailsToSubscribe, 1));
    core.replace_dispatcher(0, saboteur, None, at(0));
    accept(&mut core, 0..9);
    let replaced = outputs(&mut core);
    assert_eq!(replaced.len(), 1, "{replaced:?}");
    assert_eq!(core.totals().in_flight, 6);
    assert_eq!(core.totals().demand, 0);
    check(&core);
}
