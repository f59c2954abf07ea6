//! Counts of messages by topic, for the topics that have most.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::series::{local_shard, shards};

/// The number of messages of each topic since the last look. Nothing is counted if nobody will
/// look.
#[derive(Debug)]
pub struct TopicTally(Option<Box<[Shard]>>);

/// The counts of one thread. Only the reader locks them, too.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashMap<Arc<str>, Tally>>);

/// The number of messages of one topic.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    received: u64,
    delivered: u64,
}

/// The messages of one topic per second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TopicRate {
    topic: String,
    /// Messages from clients per second.
    received: f64,
    /// Messages of broadcasts to subscribers per second.
    delivered: f64,
}

/// The most topics of one thread between two looks. At the limit, the half with fewest messages is
/// forgotten, so that any number of topics with a few messages each cannot hide one with many: a
/// topic that has more than one in `MAX_TOPICS / 2` of all messages is found.
const MAX_TOPICS: usize = 4096;

impl TopicTally {
    /// Counts that are kept if `on`.
    pub fn new(on: bool) -> Self {
        Self(on.then(|| (0..shards()).map(|_| Shard::default()).collect()))
    }

    /// Counts a client's message that was handled.
    pub fn received(&self, topic: &Arc<str>) {
        self.count(topic, |tally| tally.received += 1);
    }

    /// Counts a broadcast that reached this number of subscribers.
    pub fn delivered(&self, topic: &Arc<str>, subscribers: usize) {
        self.count(topic, |tally| tally.delivered += subscribers as u64);
    }

    fn count(&self, topic: &Arc<str>, add: impl FnOnce(&mut Tally)) {
        let Some(Shard(tallies)) = self.0.as_ref().and_then(|shards| local_shard(shards)) else {
            return;
        };
        let mut tallies = tallies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tally) = tallies.get_mut(topic) {
            add(tally);
        } else {
            if tallies.len() >= MAX_TOPICS {
                make_room(&mut tallies);
            }
            add(tallies.entry(Arc::clone(topic)).or_default());
        }
    }

    /// Takes the counts, and returns the `most` topics with most messages, as rates over this
    /// number of seconds.
    pub fn take(&self, most: usize, seconds: f64) -> Vec<TopicRate> {
        let mut all: HashMap<Arc<str>, Tally> = HashMap::new();
        for Shard(tallies) in self.0.iter().flatten() {
            let taken =
                std::mem::take(&mut *tallies.lock().unwrap_or_else(PoisonError::into_inner));
            for (topic, Tally { received, delivered }) in taken {
                let tally = all.entry(topic).or_default();
                tally.received += received;
                tally.delivered += delivered;
            }
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by(|(a, x), (b, y)| y.messages().cmp(&x.messages()).then_with(|| a.cmp(b)));
        all.truncate(most);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let rate = |(topic, tally): (Arc<str>, Tally)| TopicRate {
            topic: topic.as_ref().to_owned(),
            received: tally.received as f64 / seconds,
            delivered: tally.delivered as f64 / seconds,
        };
        all.into_iter().map(rate).collect()
    }
}

impl Tally {
    fn messages(self) -> u64 {
        self.received + self.delivered
    }
}

/// Forgets the half of the topics with fewest messages, and all others with as few: one pass over
/// all topics for each two thousand new ones.
fn make_room(tallies: &mut HashMap<Arc<str>, Tally>) {
    let mut messages: Vec<u64> = tallies.values().map(|tally| tally.messages()).collect();
    let middle = messages.len() / 2;
    let (_, &mut median, _) = messages.select_nth_unstable(middle);
    tallies.retain(|_, tally| tally.messages() > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_quiet_topics_do_not_hide_a_busy_one() {
        let tally = TopicTally::new(true);
        let busy = Arc::from("busy");
        for number in 0..10 * MAX_TOPICS {
            let quiet = Arc::from(number.to_string());
            tally.received(&quiet);
            tally.received(&quiet);
            if number % 100 == 99 {
                tally.received(&busy);
            }
        }
        let found = tally.take(1, 1.0);
        assert_eq!(found[0].topic, "busy");
        assert!(found[0].received >= 300.0, "{found:?}");
    }

    #[test]
    fn the_topics_with_most_messages_come_first() {
        let tally = TopicTally::new(true);
        let [a, b, c] = ["a", "b", "c"].map(Arc::from);
        tally.received(&a);
        tally.delivered(&b, 10);
        tally.received(&c);
        tally.received(&c);
        let rate = |topic: &str, received, delivered| TopicRate {
            topic: topic.to_owned(),
            received,
            delivered,
        };
        assert_eq!(tally.take(2, 2.0), [rate("b", 0.0, 5.0), rate("c", 1.0, 0.0)]);
        assert!(tally.take(2, 2.0).is_empty());
        let off = TopicTally::new(false);
        off.received(&a);
        assert!(off.take(1, 1.0).is_empty());
    }
}
