//! A fair dispatcher: each key gets its turn, however many events another key has.
//!
//! The algorithm is deficit round robin (Shreedhar and Varghese, 1995) over the keys that have
//! events, with a cost of one for each event: in each round a key gets as many events through as
//! its weight says, which is 1 unless `weights` has another. Taking an event costs the same however
//! many wait.
//!
//! ```toml
//! [plugins.fair]
//! path = "plugins/fair"
//! config = { weights = "ada=4 bob=2" }
//!
//! [pipelines.jobs]
//! dispatcher = "fair"
//! partition_by = "/user"
//! ```

use std::collections::{HashMap, VecDeque};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use millrace_plugin::dispatcher::{Assignments, Columns, Consumers, Dispatcher, Offer};
use millrace_plugin::host::config;
use millrace_plugin::{Error, Result};

mod queues;
#[cfg(test)]
mod tests;

use queues::{Queue, Queues};

/// The keys that have events, in the order of their turns.
#[derive(Debug, Default)]
struct Fair {
    consumers: Consumers,
    /// Indexes of `keys`, by the numbers of keys, which are hashes already.
    by_key: HashTable<u32>,
    keys: Vec<Key>,
    /// The events of all keys.
    queues: Queues,
    /// Indexes of `keys` that are free.
    free: Vec<u32>,
    /// Indexes of the keys that have events, in the order of their turns.
    round: VecDeque<u32>,
    /// The weights that are not 1, by the texts of keys.
    weights: HashMap<String, u32>,
}

#[derive(Debug)]
struct Key {
    number: u64,
    weight: u32,
    /// The events that the key may still have in this turn.
    deficit: u32,
    events: Queue,
}

impl Fair {
    fn with_weights(weights: &str) -> Result<Self> {
        let parse = |part: &str| {
            let (key, weight) = part.split_once('=')?;
            let weight = weight.parse().ok().filter(|weight| *weight > 0)?;
            Some((key.to_owned(), weight))
        };
        let weights = weights.split_whitespace().map(|part| {
            let expected = "a key and a weight of at least 1, such as ada=4, are expected";
            parse(part).ok_or_else(|| Error::msg(format!("weights has {part:?}; {expected}")))
        });
        Ok(Self { weights: weights.collect::<Result<_>>()?, ..Self::default() })
    }

    fn push(&mut self, event: u64, number: u64, text: &str) {
        let keys = &mut self.keys;
        let entry = self.by_key.entry(
            number,
            |place| keys.get(*place as usize).is_some_and(|key| key.number == number),
            |place| keys.get(*place as usize).map_or(0, |key| key.number),
        );
        let place = match entry {
            Entry::Occupied(found) => *found.get(),
            Entry::Vacant(none) => {
                let weight = self.weights.get(text).copied().unwrap_or(1);
                let fresh = u32::try_from(keys.len()).unwrap_or(u32::MAX);
                let place = self.free.pop().unwrap_or(fresh);
                none.insert(place);
                match keys.get_mut(place as usize) {
                    // The queue of a free key is empty.
                    Some(key) => (key.number, key.weight, key.deficit) = (number, weight, 0),
                    None => keys.push(Key { number, weight, deficit: 0, events: Queue::EMPTY }),
                }
                // The key stays there until its turn, even if its events are withdrawn.
                self.round.push_back(place);
                place
            }
        };
        if let Some(key) = keys.get_mut(place as usize) {
            self.queues.push(&mut key.events, event);
        }
    }

    /// The next event, if there is one.
    fn pop(&mut self) -> Option<u64> {
        loop {
            let place = *self.round.front()?;
            let key = self.keys.get_mut(place as usize)?;
            if key.deficit == 0 {
                key.deficit = key.weight;
            }
            let event = self.queues.pop(&mut key.events);
            key.deficit -= 1;
            if key.events.is_empty() {
                self.round.pop_front();
                let number = key.number;
                if let Ok(found) = self.by_key.find_entry(number, |other| *other == place) {
                    found.remove();
                }
                self.free.push(place);
            } else if key.deficit == 0 {
                self.round.rotate_left(1);
            }
            // There is none if all events of the key were withdrawn.
            if event.is_some() {
                return event;
            }
        }
    }

    fn withdraw(&mut self, event: u64, number: u64) {
        let keys = &mut self.keys;
        let is_it = |place: &u32| keys.get(*place as usize).is_some_and(|k| k.number == number);
        let place = self.by_key.find(number, is_it).copied();
        let Some(key) = place.and_then(|place| keys.get_mut(place as usize)) else { return };
        self.queues.remove(&mut key.events, event);
    }
}

impl Dispatcher for Fair {
    fn new() -> Result<Self> {
        Self::with_weights(&config::get("weights").unwrap_or_default())
    }

    fn columns(&self) -> Columns {
        match self.weights.is_empty() {
            true => Columns::KEYS,
            false => Columns::KEYS | Columns::KEY_TEXTS,
        }
    }

    fn consumers(&mut self) -> &mut Consumers {
        &mut self.consumers
    }

    fn dispatch(&mut self, offer: &Offer, assignments: &mut Assignments) {
        for (event, key) in offer.withdrawn.iter().zip(&offer.withdrawn_keys) {
            self.withdraw(*event, *key);
        }
        let mut texts = offer.key_texts();
        for (event, key) in offer.events.iter().zip(&offer.keys) {
            self.push(*event, *key, texts.next().unwrap_or_default());
        }
        while self.consumers.are_asking()
            && let Some(event) = self.pop()
        {
            assignments.assign(event, &mut self.consumers);
        }
    }
}

millrace_plugin::export_dispatcher!(Fair);
