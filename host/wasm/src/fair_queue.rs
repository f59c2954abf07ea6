//! A queue of calls that wait, in which the owners take turns.

use std::collections::{HashMap, VecDeque};

/// The key of one queue: the calls, or the tasks, of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct QueueKey {
    /// The number of the owner ([`super::owner::CallOwner::number`]).
    pub(super) owner: u64,
    pub(super) kind: WorkKind,
}

/// The kinds of work that are queued apart: tasks may not have all instances, so that calls do not
/// wait for tasks to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WorkKind {
    Call,
    Task,
}

/// A queue for each key; the queues are served in turns (round-robin).
#[derive(Debug)]
pub(super) struct FairQueue<W> {
    /// The queues; none is empty.
    queues: HashMap<QueueKey, VecDeque<W>>,
    /// The keys of all queues in the order of their turns, each once.
    turns: VecDeque<QueueKey>,
}

/// The answer to an offer.
pub(super) enum OfferReply<W> {
    /// The offer was accepted, or whoever waited has gone.
    Accepted,
    /// The offer was declined; another key may accept it.
    Declined(W),
    /// There is nothing left to offer.
    Exhausted(W),
}

impl<W> Default for FairQueue<W> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<W> FairQueue<W> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, key: QueueKey, who: W) {
        let queue = self.queues.entry(key).or_insert_with(|| {
            self.turns.push_back(key);
            VecDeque::new()
        });
        queue.push_back(who);
    }

    /// Offers something to the first of each queue in turn, until each queue has declined or there
    /// is nothing left.
    pub(super) fn serve(&mut self, mut offer: impl FnMut(QueueKey, W) -> OfferReply<W>) {
        let mut declined = 0;
        while declined < self.turns.len() {
            let Some(key) = self.turns.pop_front() else { return };
            let Some(queue) = self.queues.get_mut(&key) else { continue };
            let Some(first) = queue.pop_front() else { continue };
            match offer(key, first) {
                OfferReply::Accepted if queue.is_empty() => {
                    self.queues.remove(&key);
                    declined = 0;
                }
                OfferReply::Accepted => {
                    self.turns.push_back(key);
                    declined = 0;
                }
                OfferReply::Declined(who) => {
                    queue.push_front(who);
                    self.turns.push_back(key);
                    declined += 1;
                }
                OfferReply::Exhausted(who) => {
                    queue.push_front(who);
                    return self.turns.push_front(key);
                }
            }
        }
    }

    /// Removes the entries of a queue for which `is_meant` is true.
    pub(super) fn leave(&mut self, key: QueueKey, is_meant: impl Fn(&W) -> bool) {
        let Some(queue) = self.queues.get_mut(&key) else { return };
        queue.retain(|who| !is_meant(who));
        if queue.is_empty() {
            self.queues.remove(&key);
            self.turns.retain(|turn| *turn != key);
        }
    }

    /// Takes out the entries of all queues for which `is_meant` is true, in the order of each
    /// queue.
    pub(super) fn extract(&mut self, is_meant: impl Fn(&W) -> bool) -> Vec<W> {
        let mut meant = Vec::new();
        for queue in self.queues.values_mut() {
            for who in std::mem::take(queue) {
                if is_meant(&who) { meant.push(who) } else { queue.push_back(who) }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|key| self.queues.contains_key(key));
        meant
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(owner: u64) -> QueueKey {
        QueueKey { owner, kind: WorkKind::Call }
    }

    /// Serves `many` entries and returns them.
    fn served(queue: &mut FairQueue<(u64, usize)>, mut many: usize) -> Vec<(u64, usize)> {
        let mut served = Vec::new();
        queue.serve(|_, who| {
            if many == 0 {
                return OfferReply::Exhausted(who);
            }
            many -= 1;
            served.push(who);
            OfferReply::Accepted
        });
        served
    }

    #[test]
    fn one_that_brings_many_has_one_turn_as_everybody() {
        let mut queue = FairQueue::default();
        (0..100).for_each(|n| queue.push(key(1), (1, n)));
        queue.push(key(2), (2, 0));
        queue.push(key(3), (3, 0));
        assert_eq!(served(&mut queue, 4), [(1, 0), (2, 0), (3, 0), (1, 1)]);
        assert_eq!(served(&mut queue, 1), [(1, 2)]);
    }

    #[test]
    fn who_may_not_have_it_holds_up_nobody() {
        let mut queue = FairQueue::default();
        (0..3).for_each(|n| queue.push(key(1), n));
        queue.push(key(2), 3);
        let mut taken = Vec::new();
        queue.serve(|key, who| match key.owner {
            1 => OfferReply::Declined(who),
            _ => {
                taken.push(who);
                OfferReply::Accepted
            }
        });
        assert_eq!(taken, [3]);
        queue.leave(key(1), |who| *who == 1);
        assert_eq!(queue.extract(|_| true), [0, 2]);
        assert!(queue.is_empty());
    }

    proptest! {
        /// Everybody is served once, in the order of their queue, and nobody twice while another
        /// waits who has come no later.
        #[test]
        fn turns_are_fair(owners in proptest::collection::vec(0..5_u64, 1..100)) {
            let mut queue = FairQueue::default();
            owners.iter().enumerate().for_each(|(n, owner)| queue.push(key(*owner), (*owner, n)));
            let all = served(&mut queue, usize::MAX);
            prop_assert!(queue.is_empty());
            prop_assert_eq!(all.len(), owners.len());
            let turn = |who: &(u64, usize)| {
                all.iter().filter(|other| other.0 == who.0 && other.1 < who.1).count()
            };
            prop_assert!(all.is_sorted_by_key(turn));
        }
    }
}
