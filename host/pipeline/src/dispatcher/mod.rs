//! Which consumer gets which event.
//!
//! The host keeps the events and the demand; a dispatcher only decides. It is
//! told of events by their numbers and keys, never their payloads, and answers
//! with assignments. Each event is offered to it once; it remembers the events
//! it has not assigned yet. The contract is GenStage's
//! (`lib/gen_stage/dispatcher.ex`), with one difference: what it cannot assign
//! it keeps in mind, rather than handing it back, so that a decision costs the
//! same however many events wait.

mod broadcast;
mod demand;
mod partition;
mod queue;

pub(super) use broadcast::BroadcastDispatcher;
pub(super) use demand::DemandDispatcher;
pub(super) use partition::PartitionDispatcher;

use std::fmt::Debug;

use super::event::{ConsumerId, EventId, Now};

/// A dispatch policy.
///
/// Guaranteed to it: every event is offered once, in the order of the events'
/// coming; what is withdrawn or finished was offered before; a consumer that
/// asks was subscribed, and not cancelled since.
///
/// Guaranteed by it, and checked for those that are plugins: it assigns events
/// that were offered and neither assigned nor withdrawn since, each once (only
/// [`Self::copies`] may assign one to several consumers), to consumers that
/// asked for so many, and while nothing is in flight it assigns something if it
/// can.
pub trait Dispatcher: Debug + Send {
    /// One word for logs and metrics.
    fn name(&self) -> &str;

    /// A consumer joins. It asks for nothing yet.
    fn subscribe(
        &mut self,
        consumer: ConsumerId,
        options: &Subscription,
    ) -> Result<(), DispatchError>;

    /// A consumer leaves, and with it what it asked for. Events assigned to it
    /// and not handled are offered anew.
    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError>;

    /// A consumer asks for so many more events.
    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError>;

    /// Takes new events, and adds what it assigns to `assigned`.
    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError>;

    /// What it wants to know of events besides their numbers.
    fn columns(&self) -> Columns {
        Columns::default()
    }

    /// Whether it hands the same event to several consumers.
    fn copies(&self) -> bool {
        false
    }

    /// Whether it comes from outside, so that what it answers has to be checked.
    fn is_guest(&self) -> bool {
        false
    }

    /// What its next version is to know, if there is anything.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes what the version before it gave.
    fn restore(&mut self, state: &[u8]) -> Result<(), DispatchError> {
        let _ = state;
        Ok(())
    }
}

/// A dispatcher that is not running, to take another's place.
pub trait Standby: Debug + Send + Sync {
    /// The name in `millrace.toml`.
    fn name(&self) -> &str;

    /// Starts it, without anything it knew before.
    fn start(&self) -> Result<Box<dyn Dispatcher>, DispatchError>;
}

/// What a dispatcher gets to know of a consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The worker's name.
    pub worker: String,
    /// The partition it serves, if it serves one.
    pub partition: Option<u32>,
    /// Its bit in the events' `selected`.
    pub selector: u64,
    /// The most it asks for.
    pub max_demand: u32,
}

/// What a dispatcher wants to know of each event; other columns stay empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The hash of each event's key.
    pub keys: bool,
    /// The text of each event's key.
    pub key_texts: bool,
    /// The size of each payload.
    pub sizes: bool,
    /// The priority of each event.
    pub priorities: bool,
    /// The time at which each event was enqueued.
    pub times: bool,
    /// The workers of a broadcast that select each event.
    pub selected: bool,
    /// Which events have left their consumers.
    pub finished: bool,
}

/// Events that came, and what happened to earlier ones: columns of one table.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The time of the offer.
    pub now: Now,
    /// The new events, in the order of their coming.
    pub events: Vec<EventId>,
    /// The hash of each event's key; 0 for one without.
    pub keys: Vec<u64>,
    /// The texts of the keys, one after the other, and where each ends.
    pub key_texts: Vec<u8>,
    /// Where the text of each key ends in `key_texts`.
    pub key_ends: Vec<u32>,
    /// Of each payload, in bytes.
    pub sizes: Vec<u32>,
    /// The priority of each event; the higher the sooner.
    pub priorities: Vec<u8>,
    /// When each was enqueued, in nanoseconds of the clock of `now`.
    pub times: Vec<u64>,
    /// The workers of a broadcast that select each event, by bit.
    pub selected: Vec<u64>,
    /// Offered before, not assigned, and no longer there.
    pub withdrawn: Vec<EventId>,
    /// The hash of each one's key, as `keys`.
    pub withdrawn_keys: Vec<u64>,
    /// Assigned before, and no longer with their consumers.
    pub finished: Vec<EventId>,
}

impl Offer {
    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.keys.clear();
        self.key_texts.clear();
        self.key_ends.clear();
        self.sizes.clear();
        self.priorities.clear();
        self.times.clear();
        self.selected.clear();
        self.withdrawn.clear();
        self.withdrawn_keys.clear();
        self.finished.clear();
    }
}

/// One event to one consumer, or from a broadcast to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The event.
    pub event: EventId,
    /// The consumer that gets it.
    pub consumer: ConsumerId,
}

/// Who gets an event that no consumer of a broadcast selects.
pub(super) const NOBODY: ConsumerId = ConsumerId(u32::MAX);

/// A dispatcher that cannot be trusted any more; it is replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// More than the consumer asked for.
    #[error("it sent consumer {} more than it asked for", .0.0)]
    OverSent(ConsumerId),
    /// An event it has assigned before, or was never offered.
    #[error("it assigned event {0:#x}, which it has assigned before or was never offered")]
    NotOffered(u64),
    /// No such consumer.
    #[error("it assigned an event to consumer {0}, which has not subscribed")]
    NoConsumer(u32),
    /// Events wait, consumers ask, nothing is in flight, and it does nothing.
    #[error("it forgot {0} events: consumers ask, nothing is in flight, and it assigns none")]
    Forgot(usize),
    /// It trapped, used up its fuel, or would not start; what it said.
    #[error("{0}")]
    Failed(String),
}
