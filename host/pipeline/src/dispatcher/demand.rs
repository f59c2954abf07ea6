//! The dispatcher `demand`: each event to the consumer that asks for most.

use super::queue::Queue;
use super::{Assignment, DispatchError, Dispatcher, Offer, Subscription};
use crate::event::ConsumerId;

/// Sends events to the consumer with the largest demand until that is met, then to the next. Of
/// consumers with the same demand, the one that asked first comes first.
///
/// It is `GenStage.DemandDispatcher` (`lib/gen_stage/dispatchers/demand_dispatcher.ex`).
#[derive(Debug, Default)]
pub(crate) struct DemandDispatcher {
    queue: Queue<()>,
    /// The consumers with their demand, the largest first.
    demands: Vec<(u32, ConsumerId)>,
}

impl DemandDispatcher {
    fn add(&mut self, demand: u32, consumer: ConsumerId) {
        let at = self.demands.partition_point(|(other, _)| *other >= demand);
        self.demands.insert(at, (demand, consumer));
    }

    fn take(&mut self, consumer: ConsumerId) -> Option<u32> {
        let at = self.demands.iter().position(|(_, other)| *other == consumer)?;
        Some(self.demands.remove(at).0)
    }
}

impl Dispatcher for DemandDispatcher {
    fn name(&self) -> &str {
        "demand"
    }

    fn subscribe(&mut self, consumer: ConsumerId, _: &Subscription) -> Result<(), DispatchError> {
        self.add(0, consumer);
        Ok(())
    }

    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError> {
        self.take(consumer);
        Ok(())
    }

    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError> {
        let before = self.take(consumer).unwrap_or_default();
        self.add(before.saturating_add(demand), consumer);
        Ok(())
    }

    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError> {
        offer.withdrawn.iter().for_each(|event| self.queue.withdraw(*event));
        offer.events.iter().for_each(|event| self.queue.push(*event, ()));
        while let Some(&(demand, consumer)) = self.demands.first().filter(|(d, _)| *d > 0) {
            let mut left = demand;
            while left > 0
                && let Some((event, ())) = self.queue.pop()
            {
                assigned.push(Assignment { event, consumer });
                left -= 1;
            }
            if left == demand {
                break;
            }
            self.demands.remove(0);
            self.add(left, consumer);
        }
        Ok(())
    }
}
