//! Demand: the number of events a consumer has asked for, and when it asks for more.
//!
//! The arithmetic is GenStage's (`split_batches` in `lib/gen_stage/utils.ex`): a consumer asks for
//! `max_demand` events first. Each batch that it has handled lowers its outstanding demand. Once
//! that is `min_demand` or less, the consumer asks for so many events that `max_demand` are
//! outstanding again. No batch is larger than `max_demand` less `min_demand`, so that the next
//! events are on their way while it works.

use std::num::NonZeroU32;

/// The bounds of a consumer's demand, in events; `min` is less than `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemandLimits {
    max: NonZeroU32,
    min: u32,
}

/// The reason why two numbers cannot be the bounds of a demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DemandError {
    /// `max_demand` is 0: the consumer would never ask for an event.
    #[error("max_demand is 0; at least 1 is allowed")]
    Zero,
    /// `min_demand` is not less than `max_demand`: the consumer would ask for more before it has
    /// handled an event.
    #[error("min_demand is {min}, and max_demand {max}; less than that is allowed")]
    MinNotBelowMax {
        /// The `min_demand` that was found.
        min: u32,
        /// The `max_demand` that it has to be below.
        max: u32,
    },
}

impl DemandLimits {
    /// Checks the bounds. `min` is half of `max` unless given, as in GenStage.
    ///
    /// # Errors
    ///
    /// When `max` is 0, or `min` is not less than `max`.
    pub fn new(max: u32, min: Option<u32>) -> Result<Self, DemandError> {
        let Some(nonzero) = NonZeroU32::new(max) else { return Err(DemandError::Zero) };
        let min = min.unwrap_or(max / 2);
        if min >= max {
            return Err(DemandError::MinNotBelowMax { min, max });
        }
        Ok(Self { max: nonzero, min })
    }

    /// The largest outstanding demand (`max_demand`).
    #[must_use]
    pub fn max(self) -> u32 {
        self.max.get()
    }

    /// The number of events of one batch at most.
    #[must_use]
    pub fn max_batch(self) -> u32 {
        self.max() - self.min
    }
}

/// The demand of one consumer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Demand {
    limits: DemandLimits,
    /// The number of events it has asked for and not handled yet.
    outstanding: u32,
}

impl Demand {
    /// The demand of a consumer that has not asked yet.
    pub(super) fn new(limits: DemandLimits) -> Self {
        Self { limits, outstanding: 0 }
    }

    /// The number of events it has asked for and not handled yet.
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// The number of events it asks for when it subscribes.
    pub(super) fn first(&mut self) -> u32 {
        self.outstanding = self.limits.max();
        self.outstanding
    }

    /// Subtracts events that were handled. Returns the number of events that it asks for now,
    /// often 0.
    pub(super) fn handled(&mut self, events: u32) -> u32 {
        self.outstanding = self.outstanding.saturating_sub(events);
        if self.outstanding > self.limits.min {
            return 0;
        }
        let asked = self.limits.max() - self.outstanding;
        self.outstanding = self.limits.max();
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Handles events that come at once. Returns the size of each batch, with the number of
    /// events that the consumer asks for after it.
    fn batches(demand: &mut Demand, mut events: u32) -> Vec<(u32, u32)> {
        let mut batches = Vec::new();
        while events > 0 {
            let batch = events.min(demand.limits.max_batch());
            events -= batch;
            batches.push((batch, demand.handled(batch)));
        }
        batches
    }

    fn consumer(max: u32, min: u32) -> Demand {
        let mut demand = Demand::new(DemandLimits::new(max, Some(min)).unwrap());
        assert_eq!(demand.first(), max);
        demand
    }

    /// `gen_stage_test.exs`, "keeps emitting batches based on the min and max".
    #[test]
    fn it_asks_again_at_min() {
        let mut default = consumer(1000, 500);
        assert_eq!(batches(&mut default, 1000), [(500, 500), (500, 500)]);
        // The producer sends 100 at a time: after the fifth time the consumer asks again.
        let mut slow = consumer(1000, 500);
        let asked: Vec<u32> = (0..10).map(|_| slow.handled(100)).collect();
        assert_eq!(asked, [0, 0, 0, 0, 500, 0, 0, 0, 0, 500]);
        let mut eager = consumer(10, 0);
        assert_eq!(batches(&mut eager, 10), [(10, 10)]);
        let mut one = consumer(1, 0);
        assert_eq!(batches(&mut one, 3), [(1, 1), (1, 1), (1, 1)]);
        let mut tight = consumer(10, 9);
        assert_eq!(batches(&mut tight, 3), [(1, 1), (1, 1), (1, 1)]);
    }

    #[test]
    fn bounds_that_make_no_sense_are_refused() {
        assert_eq!(DemandLimits::new(0, None), Err(DemandError::Zero));
        let equal = DemandError::MinNotBelowMax { min: 5, max: 5 };
        assert_eq!(DemandLimits::new(5, Some(5)), Err(equal));
        assert_eq!(DemandLimits::new(5, None).unwrap().max_batch(), 3);
    }

    proptest! {
        /// In whatever pieces the events come, more than `min` and at most `max` events that were
        /// asked for have not been handled.
        #[test]
        fn what_is_asked_for_comes_and_is_handled(
            max in 1..2000u32,
            min in 0..2000u32,
            sizes in proptest::collection::vec(1..500u32, 0..50),
        ) {
            prop_assume!(min < max);
            let mut demand = consumer(max, min);
            let (mut asked, mut handled) = (max, 0);
            for size in sizes {
                let events = size.min(asked - handled);
                for (batch, more) in batches(&mut demand, events) {
                    handled += batch;
                    asked += more;
                    prop_assert!(asked - handled <= max);
                    prop_assert!(asked - handled > min);
                }
            }
        }
    }
}
