//! Calls that wait, in turns by party.

use std::collections::{HashMap, VecDeque};

/// What waits together: the calls, or the tasks, of one party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The party's number.
    pub(super) party: u64,
    pub(super) kind: Kind,
}

/// Tasks have not all instances, so that calls do not wait for tasks to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Call,
    Task,
}

/// A queue for each place, which are served in turns.
#[derive(Debug)]
pub(super) struct Line<W> {
    /// None of them empty.
    queues: HashMap<Place, VecDeque<W>>,
    /// Each of them once.
    turns: VecDeque<Place>,
}

/// What somebody said to an offer.
pub(super) enum Offered<W> {
    /// They have it, or have gone.
    Taken,
    /// It is not for them, but may be for another place.
    Passed(W),
    /// Nothing is left to be offered.
    Over(W),
}

impl<W> Default for Line<W> {
    fn default() -> Self {
        Self { queues: HashMap::new(), turns: VecDeque::new() }
    }
}

impl<W> Line<W> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn push(&mut self, place: Place, who: W) {
        let queue = self.queues.entry(place).or_insert_with(|| {
            self.turns.push_back(place);
            VecDeque::new()
        });
        queue.push_back(who);
    }

    /// Offers something to the first of each place in turn, until nobody takes it.
    pub(super) fn serve(&mut self, mut offer: impl FnMut(Place, W) -> Offered<W>) {
        let mut passed = 0;
        while passed < self.turns.len() {
            let Some(place) = self.turns.pop_front() else { return };
            let Some(queue) = self.queues.get_mut(&place) else { continue };
            let Some(first) = queue.pop_front() else { continue };
            match offer(place, first) {
                Offered::Taken if queue.is_empty() => {
                    self.queues.remove(&place);
                    passed = 0;
                }
                Offered::Taken => {
                    self.turns.push_back(place);
                    passed = 0;
                }
                Offered::Passed(who) => {
                    queue.push_front(who);
                    self.turns.push_back(place);
                    passed += 1;
                }
                Offered::Over(who) => {
                    queue.push_front(who);
                    return self.turns.push_front(place);
                }
            }
        }
    }

    /// Takes out those of a place that are meant.
    pub(super) fn leave(&mut self, place: Place, is_meant: impl Fn(&W) -> bool) {
        let Some(queue) = self.queues.get_mut(&place) else { return };
        queue.retain(|who| !is_meant(who));
        if queue.is_empty() {
            self.queues.remove(&place);
            self.turns.retain(|turn| *turn != place);
        }
    }

    /// Takes out all that are meant, in the order in which they came to their places.
    pub(super) fn extract(&mut self, is_meant: impl Fn(&W) -> bool) -> Vec<W> {
        let mut meant = Vec::new();
        for queue in self.queues.values_mut() {
            for who in std::mem::take(queue) {
                if is_meant(&who) { meant.push(who) } else { queue.push_back(who) }
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|place| self.queues.contains_key(place));
        meant
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(party: u64) -> Place {
        Place { party, kind: Kind::Call }
    }

    /// So many are served; who they were.
    fn served(line: &mut Line<(u64, usize)>, mut many: usize) -> Vec<(u64, usize)> {
        let mut served = Vec::new();
        line.serve(|_, who| {
            if many == 0 {
                return Offered::Over(who);
            }
            many -= 1;
            served.push(who);
            Offered::Taken
        });
        served
    }

    #[test]
    fn one_that_brings_many_has_one_turn_as_everybody() {
        let mut line = Line::default();
        (0..100).for_each(|n| line.push(place(1), (1, n)));
        line.push(place(2), (2, 0));
        line.push(place(3), (3, 0));
        assert_eq!(served(&mut line, 4), [(1, 0), (2, 0), (3, 0), (1, 1)]);
        assert_eq!(served(&mut line, 1), [(1, 2)]);
    }

    #[test]
    fn who_may_not_have_it_holds_up_nobody() {
        let mut line = Line::default();
        (0..3).for_each(|n| line.push(place(1), n));
        line.push(place(2), 3);
        let mut taken = Vec::new();
        line.serve(|place, who| match place.party {
            1 => Offered::Passed(who),
            _ => {
                taken.push(who);
                Offered::Taken
            }
        });
        assert_eq!(taken, [3]);
        line.leave(place(1), |who| *who == 1);
        assert_eq!(line.extract(|_| true), [0, 2]);
        assert!(line.is_empty());
    }

    proptest! {
        /// Everybody is served once, those of a place in their order, and nobody twice
        /// while another waits who has come no later.
        #[test]
        fn turns_are_fair(parties in proptest::collection::vec(0..5_u64, 1..100)) {
            let mut line = Line::default();
            parties.iter().enumerate().for_each(|(n, party)| line.push(place(*party), (*party, n)));
            let all = served(&mut line, usize::MAX);
            prop_assert!(line.is_empty());
            prop_assert_eq!(all.len(), parties.len());
            let turn = |who: &(u64, usize)| {
                all.iter().filter(|other| other.0 == who.0 && other.1 < who.1).count()
            };
            prop_assert!(all.is_sorted_by_key(turn));
        }
    }
}
