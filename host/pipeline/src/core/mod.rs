//! A pipeline as a state machine: it does no I/O and is told the time.
//!
//! ```text
//! offer ──▶ fresh ──▶ dispatcher ──▶ consumer ──take──▶ a worker's call ──finish──▶ done
//!             ▲                                                    │ retry          failed
//!             └───────────────── delayed ◀────────────────────────┘                dropped
//! ```
//!
//! Every event is in one place at any instant ([`Place`]), and leaves in one of
//! three ways, each counted: what was accepted is what is done, failed, dropped,
//! in flight or buffered.

mod accept;
mod finish;
mod pump;
mod reserve;
mod stage;
mod take;
#[cfg(test)]
mod tests;
mod totals;

pub(super) use accept::Refused;
pub use finish::CallEnd;
pub(super) use reserve::NoRoom;
use reserve::Reserve;
pub(super) use stage::{Stage, StageConfig};
pub(super) use take::Next;
pub use take::{Batch, Row};
pub use totals::Totals;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use millrace_session::channel::SocketRef;
use millrace_wire::Payload;

use super::consumer::{ConsumerConfig, Delivery};
use super::dispatcher::{DispatchError, Dispatcher, Standby};
use super::event::{ConsumerId, DropReason, EventId, Now};
use super::keys::Keys;
use super::retry::{Delayed, RetryPolicy};
use super::slots::{Place, Slots};
use super::storage::{Memory, Safe, Storage};

/// What happens when the buffer is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// The producer is told, and keeps the event.
    #[default]
    Reject,
    /// The producer waits for room, as far as it can; else it is told.
    Wait,
    /// The newest event is dropped (`keep = "first"`).
    KeepFirst,
    /// The oldest event is dropped (`keep = "last"`).
    KeepLast,
}

/// The bounds of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct CoreConfig {
    /// Events that may wait, before all stages together.
    pub(super) size: usize,
    /// Their payloads, and those of the events in flight.
    pub(super) max_bytes: usize,
    /// Events of one key that may wait; 0 is without bound.
    pub(super) max_per_key: usize,
    pub(super) on_full: OnFull,
    pub(super) retry: RetryPolicy,
    /// How old an event may be when a worker starts on it.
    pub(super) deadline: Option<Duration>,
    /// Whether an event starts only when the one before it of its key has ended.
    pub(super) ordered: bool,
    /// Whether what is dropped goes to the dead letters too.
    pub(super) keep_dropped: bool,
}

/// One pipeline.
#[derive(Debug)]
pub(super) struct Core {
    config: CoreConfig,
    slots: Slots,
    keys: Keys,
    stages: Vec<Stage>,
    delayed: Delayed,
    /// With `keep = "last"`: the events in the order of their coming, some of
    /// which have gone.
    order: VecDeque<EventId>,
    totals: Totals,
    /// Where the events in hand are kept besides.
    storage: Box<dyn Storage>,
    /// The last event that was accepted.
    last_stored: u64,
    /// For the jitter of retries.
    random: u64,
    /// The least room that a producer waits for.
    wanted_room: usize,
    /// What is kept for events that are about to come.
    reserve: Reserve,
    /// What came of it all, for the host to see to.
    outputs: Vec<Output>,
    /// Consumers that may be able to start a call.
    woken: Vec<(usize, ConsumerId)>,
    /// What a consumer's next call may work on, while that is put together.
    taken: Vec<Delivery>,
}

/// Something the host has to see to.
#[derive(Debug)]
pub(super) enum Output {
    /// An event will not be tried again, and is kept for an operator.
    Dead(Dead),
    /// Somebody waits for this answer.
    Reply { to: Box<SocketRef>, status: String, payload: Payload },
    /// An event was dropped.
    Dropped { key: Option<Box<str>>, reason: DropReason },
    /// A stage's dispatcher broke its contract and was replaced.
    Replaced { stage: usize, dispatcher: String, why: DispatchError },
}

/// An event that will not be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) payload: bytes::Bytes,
    pub(super) key: Option<Box<str>>,
    pub(super) priority: u8,
    pub(super) enqueued_unix_ms: u64,
    pub(super) stage: usize,
    pub(super) attempts: u16,
    pub(super) reason: String,
}

impl Core {
    /// A pipeline of at least one stage. Its consumers ask at once.
    pub(super) fn new(config: CoreConfig, stages: Vec<StageConfig>, random: u64) -> Self {
        let (stages, consumers): (Vec<_>, Vec<_>) =
            stages.into_iter().map(|stage| (Stage::new(stage.dispatcher), stage.consumers)).unzip();
        let mut core = Self {
            config,
            slots: Slots::default(),
            keys: Keys::default(),
            stages,
            delayed: Delayed::default(),
            order: VecDeque::new(),
            totals: Totals::default(),
            storage: Box::<Memory>::default(),
            last_stored: 0,
            random: random | 1,
            wanted_room: usize::MAX,
            reserve: Reserve::default(),
            outputs: Vec::new(),
            woken: Vec::new(),
            taken: Vec::new(),
        };
        for (stage, consumers) in consumers.into_iter().enumerate() {
            for consumer in consumers {
                core.subscribe(stage, consumer, Now::default());
            }
        }
        core
    }

    /// Keeps its events elsewhere too, and takes up those that are there.
    #[cfg(test)]
    pub(super) fn keep_in(&mut self, storage: Box<dyn Storage>, now: Now) {
        self.storage = storage;
        self.renew_leases(now);
    }

    /// How often [`Self::renew_leases`] is to be called, if ever.
    pub(super) fn renew_every(&self) -> Option<Duration> {
        self.storage.renew_every()
    }

    /// Ready when all that was accepted so far is safe; `None` when it is.
    pub(super) fn safe(&self) -> Option<Safe> {
        self.storage.safe(self.last_stored)
    }

    /// What has come of the events, and where those in hand are.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            buffered: self.slots.buffered() as u64,
            in_flight: self.slots.in_flight() as u64,
            delayed: self.slots.at(Place::Delayed) as u64,
            bytes: self.slots.bytes() as u64,
            keys: self.keys.len() as u64,
            demand: self.stages.first().map_or(0, |stage| u64::from(stage.asked)),
            ..self.totals.clone()
        }
    }

    /// A producer waits for room for so many events.
    pub(super) fn want_room(&mut self, events: usize) {
        // Not for one at a time, each of which would have to wake it.
        let enough = events.min(self.config.size / 4).max(1);
        self.wanted_room = self.wanted_room.min(enough);
    }

    /// Whether there is the room that a producer waits for. Says so once.
    pub(super) fn has_wanted_room(&mut self) -> bool {
        let is_there = self.room() >= self.wanted_room && !self.is_full();
        if is_there {
            self.wanted_room = usize::MAX;
        }
        is_there
    }

    /// The dispatchers of the stages, by name.
    pub(super) fn dispatchers(&self) -> Vec<String> {
        self.stages.iter().map(|stage| stage.dispatcher.name().to_owned()).collect()
    }

    /// The keys with most events in hand, most first, each with its share of them.
    pub(super) fn top_keys(&self, most: usize) -> Vec<(String, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "events need no 53 bits")]
        let all = (self.slots.buffered() + self.slots.in_flight()).max(1) as f64;
        let top = self.keys.top(most).into_iter();
        top.map(|(key, events)| (key.to_owned(), f64::from(events) / all)).collect()
    }

    /// Whether nothing is in hand.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.buffered() + self.slots.in_flight() == 0
    }

    /// Whether a further event would find the buffer full.
    pub(super) fn is_full(&self) -> bool {
        let bytes = self.slots.bytes() + self.reserve.bytes;
        self.room() == 0 || bytes >= self.config.max_bytes
    }

    /// How many further events may wait, as far as their bytes allow it.
    fn room(&self) -> usize {
        self.config.size.saturating_sub(self.slots.buffered() + self.reserve.events)
    }

    /// What the host has to see to, since it was last asked.
    pub(super) fn take_outputs(&mut self, outputs: &mut Vec<Output>) {
        outputs.append(&mut self.outputs);
    }

    /// The consumers that may be able to start a call, since it was last asked:
    /// their stages and numbers.
    pub(super) fn take_woken(&mut self, woken: &mut Vec<(usize, ConsumerId)>) {
        woken.append(&mut self.woken);
    }

    /// Makes another dispatcher that of a stage. It gets to know what the one
    /// before it knew; consumers subscribe and ask anew, and every event that waits
    /// is offered anew. If it breaks, `standby` takes its place.
    pub(super) fn replace_dispatcher(
        &mut self,
        stage: usize,
        mut dispatcher: Box<dyn Dispatcher>,
        standby: Option<Arc<dyn Standby>>,
        now: Now,
    ) {
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let state = staged.dispatcher.snapshot();
        let restored = state.map_or(Ok(()), |state| dispatcher.restore(&state));
        staged.dispatcher = dispatcher;
        staged.standby = standby;
        match restored {
            Ok(()) => {
                self.resync(stage, now);
                self.pump(stage, now);
            }
            Err(why) => self.dispatcher_failed(stage, why, now),
        }
    }

    /// One more consumer of a stage.
    pub(super) fn subscribe(
        &mut self,
        stage: usize,
        config: ConsumerConfig,
        now: Now,
    ) -> Option<ConsumerId> {
        let staged = self.stages.get_mut(stage)?;
        let consumer = staged.add(config);
        match self.subscribe_consumer(stage, consumer) {
            Ok(()) => self.pump(stage, now),
            Err(why) => self.dispatcher_failed(stage, why, now),
        }
        Some(consumer)
    }

    /// A consumer takes no more. What it has not started waits for another.
    pub(super) fn cancel(&mut self, stage: usize, consumer: ConsumerId, now: Now) {
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let Some(leaving) = staged.consumers.get_mut(consumer.index()) else { return };
        if std::mem::replace(&mut leaving.cancelled, true) {
            return;
        }
        staged.asked -= std::mem::take(&mut leaving.asked);
        // Of a broadcast, the others may have waited for this one alone.
        staged.has_new_demand = true;
        let back = leaving.take_back();
        let left = staged.dispatcher.cancel(consumer);
        match staged.dispatcher.copies() {
            // The other consumers have theirs, and must not get them twice.
            true => back.iter().for_each(|delivery| self.drop_copy(stage, *delivery)),
            false => self.give_back(stage, &back),
        }
        if !back.is_empty() {
            self.reoffer(stage);
        }
        match left {
            Ok(()) => self.pump(stage, now),
            Err(why) => self.dispatcher_failed(stage, why, now),
        }
    }

    fn random(&mut self) -> u64 {
        // xorshift64: any numbers do that differ from event to event.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
