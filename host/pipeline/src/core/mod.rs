//! A pipeline as a state machine. It does no I/O, starts no tasks, and is told the time.
//!
//! ```text
//! offer ──▶ fresh ──▶ dispatcher ──▶ consumer ──take──▶ a worker's call ──finish──▶ done
//!             ▲                                                    │ retry          failed
//!             └───────────────── delayed ◀────────────────────────┘                dropped
//! ```
//!
//! Every event is in one place at any instant ([`Place`]), and leaves in one of three ways, each
//! of which is counted. So at any instant the number of accepted events is the sum of those that
//! are done, failed, dropped, in flight and buffered ([`Totals::is_conserved`]).

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
use super::event::{ConsumerId, DropReason, EventId, Now, StageConsumer};
use super::keys::Keys;
use super::retry::{Delayed, RetryPolicy};
use super::slots::{Place, Slots};
use super::storage::{Memory, Safe, Storage};

/// How a full buffer treats a further event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFull {
    /// The event is refused; its producer is told.
    #[default]
    Reject,
    /// The producer waits for room, if it can; the event of one that cannot is refused.
    Wait,
    /// The new event is dropped (`keep = "first"`).
    KeepFirst,
    /// The event that waits longest is dropped (`keep = "last"`).
    KeepLast,
}

/// The settings of a pipeline.
#[derive(Clone, Debug)]
pub(super) struct CoreConfig {
    /// The number of events that may wait, in all stages together.
    pub(super) size: usize,
    /// The size of the payloads in hand at most, waiting or in flight, in bytes. A single event
    /// may be larger.
    pub(super) max_bytes: usize,
    /// The number of events of one key that may wait; 0 is without bound.
    pub(super) max_per_key: usize,
    pub(super) on_full: OnFull,
    pub(super) retry: RetryPolicy,
    /// The time that an event may have waited when a worker starts on it; else it is dropped.
    pub(super) deadline: Option<Duration>,
    /// Whether an event starts only when the one before it of its key has ended.
    pub(super) ordered: bool,
    /// Whether dropped events become dead letters too.
    pub(super) keep_dropped: bool,
}

/// The state of a pipeline.
#[derive(Debug)]
pub(super) struct Core {
    config: CoreConfig,
    slots: Slots,
    keys: Keys,
    stages: Vec<Stage>,
    delayed: Delayed,
    /// With `keep = "last"`: the events in the order in which they were enqueued. Some of them
    /// have gone.
    order: VecDeque<EventId>,
    totals: Totals,
    /// Keeps the events in hand in case the server is killed.
    storage: Box<dyn Storage>,
    /// The storage's number of the last event that was accepted.
    last_stored: u64,
    /// The state of the random numbers for the jitter of retries; never 0.
    random: u64,
    /// The least room that a producer waits for, in events; `usize::MAX` if none waits.
    wanted_room: usize,
    /// The room that is reserved for events that are about to come.
    reserve: Reserve,
    /// Things that the host has to do.
    outputs: Vec<Output>,
    /// Consumers that may be able to start a call.
    woken: Vec<StageConsumer>,
    /// Scratch memory of [`Core::take`]: the events of a consumer's next call.
    taken: Vec<Delivery>,
}

/// A thing that the host has to do, without the lock.
#[derive(Debug)]
pub(super) enum Output {
    /// Keep an event that was given up for an operator.
    Dead(Dead),
    /// Send the answer to the socket that waits for it.
    Reply { to: Box<SocketRef>, status: String, payload: Payload },
    /// Log that an event was dropped.
    Dropped { key: Option<Box<str>>, reason: DropReason },
    /// Log and count that a stage's dispatcher broke its contract and was replaced.
    Replaced { stage: usize, dispatcher: String, why: DispatchError },
}

/// An event that was given up, for the dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) payload: bytes::Bytes,
    pub(super) key: Option<Box<str>>,
    pub(super) priority: u8,
    /// The time at which it was enqueued, in milliseconds since the Unix epoch.
    pub(super) enqueued_unix_ms: u64,
    /// The stage in which it was given up, counted from 0.
    pub(super) stage: usize,
    /// The number of attempts in that stage; 0 if it was dropped.
    pub(super) attempts: u16,
    pub(super) reason: String,
}

impl Core {
    /// Makes a pipeline of at least one stage. Its consumers subscribe and ask at once.
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

    /// Keeps the events in another storage, and takes up those that are in it.
    #[cfg(test)]
    pub(super) fn keep_in(&mut self, storage: Box<dyn Storage>, now: Now) {
        self.storage = storage;
        self.renew_leases(now);
    }

    /// The time between two calls of [`Self::renew_leases`]; `None` if it need not be called.
    pub(super) fn renew_every(&self) -> Option<Duration> {
        self.storage.renew_every()
    }

    /// Ready when the storage has made all events safe that were accepted so far; `None` when it
    /// has already.
    pub(super) fn safe(&self) -> Option<Safe> {
        self.storage.safe(self.last_stored)
    }

    /// The counts of its events: what became of them, and how many are in hand.
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

    /// Remembers that a producer waits for room for that many events. It is woken when there is
    /// room for them, or for a quarter of the buffer: not for each event that leaves.
    pub(super) fn want_room(&mut self, events: usize) {
        let enough = events.min(self.config.size / 4).max(1);
        self.wanted_room = self.wanted_room.min(enough);
    }

    /// Whether there is the room that a producer waits for. True once for each
    /// [`Self::want_room`].
    pub(super) fn has_wanted_room(&mut self) -> bool {
        let is_there = self.room() >= self.wanted_room && !self.is_full();
        if is_there {
            self.wanted_room = usize::MAX;
        }
        is_there
    }

    /// The names of the dispatchers, by stage.
    pub(super) fn dispatchers(&self) -> Vec<String> {
        self.stages.iter().map(|stage| stage.dispatcher.name().to_owned()).collect()
    }

    /// The `most` keys with most events in hand, most first, each with its share (0 to 1) of the
    /// events in hand.
    pub(super) fn top_keys(&self, most: usize) -> Vec<(String, f64)> {
        #[expect(clippy::cast_precision_loss, reason = "events need no 53 bits")]
        let all = (self.slots.buffered() + self.slots.in_flight()).max(1) as f64;
        let top = self.keys.top(most).into_iter();
        top.map(|(key, events)| (key.to_owned(), f64::from(events) / all)).collect()
    }

    /// Whether no event is in hand.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.buffered() + self.slots.in_flight() == 0
    }

    /// Whether a further event would find the buffer full.
    pub(super) fn is_full(&self) -> bool {
        let bytes = self.slots.bytes() + self.reserve.bytes;
        self.room() == 0 || bytes >= self.config.max_bytes
    }

    /// The number of further events that may wait, as far as the bound on bytes allows it.
    fn room(&self) -> usize {
        self.config.size.saturating_sub(self.slots.buffered() + self.reserve.events)
    }

    /// Moves to `outputs` what the host has to do since the last call.
    pub(super) fn take_outputs(&mut self, outputs: &mut Vec<Output>) {
        outputs.append(&mut self.outputs);
    }

    /// Moves to `woken` the consumers that may be able to start a call since the last call of
    /// this. A consumer may be in it more than once.
    pub(super) fn take_woken(&mut self, woken: &mut Vec<StageConsumer>) {
        woken.append(&mut self.woken);
    }

    /// Makes another dispatcher that of a stage. It is given the snapshot of the one before it,
    /// the consumers subscribe and ask again, and every event that waits is offered again. If it
    /// breaks its contract, `standby` takes its place.
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

    /// Adds a consumer to a stage; `None` when there is no such stage.
    pub(super) fn subscribe(
        &mut self,
        stage: usize,
        config: ConsumerConfig,
        now: Now,
    ) -> Option<ConsumerId> {
        let staged = self.stages.get_mut(stage)?;
        let id = staged.add(config);
        match self.subscribe_consumer(StageConsumer { stage, id }) {
            Ok(()) => self.pump(stage, now),
            Err(why) => self.dispatcher_failed(stage, why, now),
        }
        Some(id)
    }

    /// Ends a consumer's subscription: it is assigned no more events. Those that it has not
    /// started wait for another consumer; its copies of a broadcast are given up.
    pub(super) fn cancel(&mut self, consumer: StageConsumer, now: Now) {
        let StageConsumer { stage, id } = consumer;
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let Some(leaving) = staged.consumers.get_mut(id.index()) else { return };
        if std::mem::replace(&mut leaving.cancelled, true) {
            return;
        }
        staged.asked -= std::mem::take(&mut leaving.asked);
        // The other consumers of a broadcast may have waited for this one alone.
        staged.has_new_demand = true;
        let back = leaving.take_back();
        let left = staged.dispatcher.cancel(id);
        match staged.dispatcher.copies() {
            // The other consumers have their copies, and must not get a second one.
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
        // xorshift64. The jitter needs no good random numbers, only different ones.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
