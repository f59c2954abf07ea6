//! Testing dispatchers natively, in a stage that keeps the server's side of the contract, and
//! checks the dispatcher's side.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::bindings::dispatcher::exports::millrace::plugin::dispatcher as raw;
use crate::dispatcher::{Columns, Dispatcher};

/// A stage with a dispatcher, as it would be in the server.
#[derive(Debug)]
pub struct Stage<D> {
    dispatcher: D,
    now_ns: u64,
    last: u64,
    /// The events that came and were not offered yet.
    fresh: Vec<u64>,
    /// The events that were not assigned.
    waiting: BTreeMap<u64, Waiting>,
    in_flight: BTreeMap<u64, Assigned>,
    demand: HashMap<u32, u32>,
    /// The demand for the next offer.
    asks: Vec<raw::Ask>,
    withdrawn: Vec<u64>,
    withdrawn_keys: Vec<u64>,
    finished: Vec<u64>,
}

/// An assigned event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The number of the event.
    pub event: u64,
    /// The key of the event.
    pub key: String,
    /// The consumer that got the event.
    pub consumer: u32,
    /// The priority of the event.
    pub priority: u8,
    /// The time at which the event came, in nanoseconds of the stage's clock.
    pub came_ns: u64,
}

#[derive(Debug)]
struct Waiting {
    key: String,
    priority: u8,
    came_ns: u64,
}

impl<D: Dispatcher> Stage<D> {
    /// Makes a stage at the time 0, without consumers.
    pub fn new(dispatcher: D) -> Self {
        Self {
            dispatcher,
            now_ns: 0,
            last: 0,
            fresh: Vec::new(),
            waiting: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            demand: HashMap::new(),
            asks: Vec::new(),
            withdrawn: Vec::new(),
            withdrawn_keys: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// The dispatcher that is tested.
    pub fn dispatcher(&self) -> &D {
        &self.dispatcher
    }

    /// Adds a consumer, which asks for all that it may have.
    pub fn subscribe(&mut self, consumer: u32, max_demand: u32) {
        self.dispatcher.consumers().subscribe(consumer, max_demand);
        self.ask(consumer, max_demand);
    }

    /// Removes a consumer. Its events wait again, and all that waits is offered again.
    pub fn cancel(&mut self, consumer: u32) {
        self.dispatcher.consumers().cancel(consumer);
        self.demand.remove(&consumer);
        self.asks.retain(|ask| ask.consumer != consumer);
        for event in self.waiting() {
            if !self.fresh.contains(&event) {
                self.withdrawn.push(event);
                self.withdrawn_keys.extend(self.waiting.get(&event).map(|w| number(&w.key)));
            }
        }
        let had = self.in_flight.extract_if(.., |_, assigned| assigned.consumer == consumer);
        for (event, Assigned { key, priority, came_ns, .. }) in had {
            self.finished.push(event);
            self.waiting.insert(event, Waiting { key, priority, came_ns });
        }
        self.fresh = self.waiting();
    }

    /// Adds to the demand of a consumer.
    pub fn ask(&mut self, consumer: u32, demand: u32) {
        *self.demand.entry(consumer).or_default() += demand;
        self.asks.push(raw::Ask { consumer, demand });
    }

    /// Pushes an event, and returns its number. An empty key means none.
    pub fn push(&mut self, key: &str, priority: u8) -> u64 {
        self.last += 1;
        self.fresh.push(self.last);
        let waiting = Waiting { key: key.to_owned(), priority, came_ns: self.now_ns };
        self.waiting.insert(self.last, waiting);
        self.last
    }

    /// Withdraws an event that waits; false if it does not wait.
    pub fn withdraw(&mut self, event: u64) -> bool {
        let Some(Waiting { key, .. }) = self.waiting.remove(&event) else { return false };
        let offered = self.fresh.len();
        self.fresh.retain(|other| *other != event);
        if self.fresh.len() == offered {
            self.withdrawn.push(event);
            self.withdrawn_keys.push(number(&key));
        }
        true
    }

    /// Finishes an event: its consumer asks for another one. False if no consumer has the event.
    pub fn finish(&mut self, event: u64) -> bool {
        let Some(Assigned { consumer, .. }) = self.in_flight.remove(&event) else { return false };
        self.finished.push(event);
        self.ask(consumer, 1);
        true
    }

    /// Lets time pass, in nanoseconds.
    pub fn wait(&mut self, ns: u64) {
        self.now_ns += ns;
    }

    /// The events that wait, in the order in which they came.
    pub fn waiting(&self) -> Vec<u64> {
        self.waiting.keys().copied().collect()
    }

    /// The events that consumers have, in the order in which they came.
    pub fn in_flight(&self) -> Vec<Assigned> {
        self.in_flight.values().cloned().collect()
    }

    /// Calls the dispatcher with what has happened, and returns what it assigns, in order.
    ///
    /// # Panics
    ///
    /// If the dispatcher breaks the contract of `wit/v0.2/dispatcher.wit`.
    pub fn dispatch(&mut self) -> Vec<Assigned> {
        let offer = self.offer();
        let raw::Assignments { events, consumers } =
            crate::runtime::dispatch(&mut self.dispatcher, offer);
        assert_eq!(events.len(), consumers.len(), "columns of equal length are expected");
        let assigned: Vec<_> = events.into_iter().zip(consumers).collect();
        let assigned: Vec<_> =
            assigned.into_iter().map(|(event, consumer)| self.assign(event, consumer)).collect();
        let asks = self.demand.values().any(|demand| *demand > 0);
        let forgot = self.in_flight.is_empty() && asks && !self.waiting.is_empty();
        assert!(!forgot, "{} events wait, and nothing was assigned", self.waiting.len());
        assigned
    }

    fn assign(&mut self, event: u64, consumer: u32) -> Assigned {
        let waiting = self.waiting.remove(&event);
        let Some(Waiting { key, priority, came_ns }) = waiting else {
            panic!("event {event} was assigned before, or never offered");
        };
        let demand = self.demand.get_mut(&consumer).filter(|demand| **demand > 0);
        let Some(demand) = demand else {
            panic!("consumer {consumer} got more than it asked for");
        };
        *demand -= 1;
        let assigned = Assigned { event, key, consumer, priority, came_ns };
        self.in_flight.insert(event, assigned.clone());
        assigned
    }

    fn offer(&mut self) -> raw::Offer {
        let wanted = self.dispatcher.columns();
        let wants = |column| wanted & column == column;
        let events = std::mem::take(&mut self.fresh);
        let rows: Vec<&Waiting> = events.iter().filter_map(|id| self.waiting.get(id)).collect();
        let (mut key_texts, mut key_ends) = (Vec::new(), Vec::new());
        if wants(Columns::KEY_TEXTS) {
            for row in &rows {
                key_texts.extend_from_slice(row.key.as_bytes());
                key_ends.push(u32::try_from(key_texts.len()).unwrap_or(u32::MAX));
            }
        }
        raw::Offer {
            now_ns: self.now_ns,
            asks: std::mem::take(&mut self.asks),
            keys: column(wants(Columns::KEYS), &rows, |row| number(&row.key)),
            key_texts,
            key_ends,
            // The stage has no payloads.
            sizes: column(wants(Columns::SIZES), &rows, |_| 0),
            priorities: column(wants(Columns::PRIORITIES), &rows, |row| row.priority),
            times_ns: column(wants(Columns::TIMES), &rows, |row| row.came_ns),
            withdrawn: std::mem::take(&mut self.withdrawn),
            withdrawn_keys: match wants(Columns::KEYS) {
                true => std::mem::take(&mut self.withdrawn_keys),
                false => Vec::new(),
            },
            finished: match wants(Columns::FINISHED) {
                true => std::mem::take(&mut self.finished),
                false => Vec::new(),
            },
            events,
        }
    }
}

fn column<T>(wanted: bool, rows: &[&Waiting], value: impl Fn(&Waiting) -> T) -> Vec<T> {
    if wanted { rows.iter().map(|row| value(row)).collect() } else { Vec::new() }
}

/// The number of a key; 0 for no key.
fn number(key: &str) -> u64 {
    if key.is_empty() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish().max(1)
}
