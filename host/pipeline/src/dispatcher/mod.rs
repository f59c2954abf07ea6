//! Dispatchers, which decide which consumer gets which event.
//!
//! The host keeps the events and the demand; a dispatcher only decides. It is told the numbers and
//! keys of events, never their payloads, and answers with assignments. Each event is offered to it
//! once, and it remembers the events that it has not assigned yet. The contract is GenStage's
//! (`lib/gen_stage/dispatcher.ex`), with one difference: a dispatcher there hands back the events
//! that it cannot assign, and here it remembers them, so that a decision costs the same however
//! many events wait.

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
/// The host guarantees to it: every event is offered once, in the order in which events were
/// enqueued; an event that is withdrawn or finished was offered before; a consumer that asks has
/// subscribed, and was not cancelled since.
///
/// It guarantees to the host: it assigns only events that were offered, and neither assigned nor
/// withdrawn since, each once (to several consumers only if [`Self::copies`]); no consumer gets
/// more events than it asked for; and while no event is in flight it assigns one if a consumer
/// asks and an event waits. The host checks that, the last only of plugins. A dispatcher that
/// breaks the contract is replaced.
pub trait Dispatcher: Debug + Send {
    /// The name for logs and the admin API.
    fn name(&self) -> &str;

    /// Adds a consumer, which has not asked for events yet.
    ///
    /// # Errors
    ///
    /// When the dispatcher cannot have it, or fails. It is replaced then, as after an error of
    /// each other method.
    fn subscribe(
        &mut self,
        consumer: ConsumerId,
        options: &Subscription,
    ) -> Result<(), DispatchError>;

    /// Removes a consumer and its demand. Events that it was assigned and has not started are
    /// offered again.
    ///
    /// # Errors
    ///
    /// When the dispatcher fails.
    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError>;

    /// Adds to the demand of a consumer: it asks for that many more events.
    ///
    /// # Errors
    ///
    /// When the dispatcher fails.
    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError>;

    /// Takes new events, and adds its assignments to `assigned`. If the method fails, none of
    /// them is carried out.
    ///
    /// # Errors
    ///
    /// When the dispatcher fails.
    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError>;

    /// The columns of an [`Offer`] that it uses besides the events' numbers.
    fn columns(&self) -> Columns {
        Columns::default()
    }

    /// Whether it assigns the same event to several consumers.
    fn copies(&self) -> bool {
        false
    }

    /// Whether it is a plugin. A plugin may hold events back, is called again whenever an event
    /// ends, and is replaced when it forgets events ([`DispatchError::Forgot`]).
    fn is_guest(&self) -> bool {
        false
    }

    /// The state that the next version of it is to have; `None` if there is none.
    fn snapshot(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes the state that the version before it gave in [`Self::snapshot`].
    ///
    /// # Errors
    ///
    /// When the dispatcher fails, or cannot read the state.
    fn restore(&mut self, state: &[u8]) -> Result<(), DispatchError> {
        let _ = state;
        Ok(())
    }
}

/// A dispatcher that can be started, to take the place of another.
pub trait Standby: Debug + Send + Sync {
    /// The name in `millrace.toml`.
    fn name(&self) -> &str;

    /// Starts it without any state.
    ///
    /// # Errors
    ///
    /// When it does not start.
    fn start(&self) -> Result<Box<dyn Dispatcher>, DispatchError>;
}

/// The properties of a consumer that a dispatcher is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The name of the consumer's worker.
    pub worker: String,
    /// The partition whose events it gets, counted from 0.
    pub partition: Option<u32>,
    /// The bit of its worker in [`Offer::selected`].
    pub selector: u64,
    /// The number of events that it has asked for and not handled, at most.
    pub max_demand: u32,
}

/// The columns of an [`Offer`] that a dispatcher uses; the others stay empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The hash of each event's key.
    pub keys: bool,
    /// The text of each event's key.
    pub key_texts: bool,
    /// The size of each payload in bytes.
    pub sizes: bool,
    /// The priority of each event.
    pub priorities: bool,
    /// The time at which each event was accepted.
    pub times: bool,
    /// The workers of a broadcast that select each event.
    pub selected: bool,
    /// The events that have left their consumers.
    pub finished: bool,
}

/// New events and the ends of earlier ones, for a dispatcher. The fields about new events are the
/// columns of one table.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The time of the offer.
    pub now: Now,
    /// The numbers of the new events, in the order in which they were enqueued.
    pub events: Vec<EventId>,
    /// The hash of each event's key; 0 for an event without a key.
    pub keys: Vec<u64>,
    /// The texts of the keys, one after the other.
    pub key_texts: Vec<u8>,
    /// The end of each key's text in `key_texts`, in bytes.
    pub key_ends: Vec<u32>,
    /// The sizes of the payloads in bytes.
    pub sizes: Vec<u32>,
    /// The priority of each event; the higher, the sooner.
    pub priorities: Vec<u8>,
    /// The time at which each event was accepted, in nanoseconds of the clock of `now`.
    pub times: Vec<u64>,
    /// The workers of a broadcast that select each event, by bit.
    pub selected: Vec<u64>,
    /// Events that were offered before and not assigned, and do not wait any more. They may be
    /// offered again.
    pub withdrawn: Vec<EventId>,
    /// The hash of the key of each withdrawn event, as in `keys`.
    pub withdrawn_keys: Vec<u64>,
    /// Events that were assigned before and have left their consumers.
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

/// An assignment of an event to a consumer, or to [`NOBODY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The event.
    pub event: EventId,
    /// The consumer that gets it.
    pub consumer: ConsumerId,
}

/// The consumer of an event that no consumer of a broadcast selects: the event is dropped.
pub(super) const NOBODY: ConsumerId = ConsumerId(u32::MAX);

/// The reason why a dispatcher cannot be trusted any more; it is replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DispatchError {
    /// It assigned a consumer more events than that has asked for.
    #[error("it sent consumer {} more than it asked for", .0.0)]
    OverSent(ConsumerId),
    /// It assigned an event that it has assigned before or was never offered.
    #[error("it assigned event {0:#x}, which it has assigned before or was never offered")]
    NotOffered(u64),
    /// It assigned an event to a consumer that has not subscribed.
    #[error("it assigned an event to consumer {0}, which has not subscribed")]
    NoConsumer(u32),
    /// It assigns no event although events wait, consumers ask, and none is in flight. The
    /// number of events that wait.
    #[error("it forgot {0} events: consumers ask, nothing is in flight, and it assigns none")]
    Forgot(usize),
    /// It trapped, used up its fuel, or did not start. The message.
    #[error("{0}")]
    Failed(String),
}
