//! The dispatcher `broadcast`: each event to all consumers that select it.

use super::queue::Queue;
use super::{Assignment, Columns, DispatchError, Dispatcher, NOBODY, Offer, Subscription};
use crate::event::ConsumerId;

/// Sends each event to all consumers that select it, once all consumers have asked for an event:
/// the slowest sets the pace. An event that no consumer selects goes to [`NOBODY`].
///
/// It is `GenStage.BroadcastDispatcher` (`lib/gen_stage/dispatchers/broadcast_dispatcher.ex`). An
/// event that a consumer does not select takes nothing of its demand.
#[derive(Debug, Default)]
pub(crate) struct BroadcastDispatcher {
    /// The events that wait, each with the workers that select it, by bit.
    queue: Queue<u64>,
    consumers: Vec<Consumer>,
}

#[derive(Debug)]
struct Consumer {
    id: ConsumerId,
    selector: u64,
    demand: u32,
}

impl Dispatcher for BroadcastDispatcher {
    fn name(&self) -> &str {
        "broadcast"
    }

    fn subscribe(&mut self, id: ConsumerId, options: &Subscription) -> Result<(), DispatchError> {
        self.consumers.push(Consumer { id, selector: options.selector, demand: 0 });
        Ok(())
    }

    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError> {
        self.consumers.retain(|other| other.id != consumer);
        Ok(())
    }

    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError> {
        if let Some(asks) = self.consumers.iter_mut().find(|other| other.id == consumer) {
            asks.demand = asks.demand.saturating_add(demand);
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError> {
        offer.withdrawn.iter().for_each(|event| self.queue.withdraw(*event));
        for (event, selected) in offer.events.iter().zip(&offer.selected) {
            self.queue.push(*event, *selected);
        }
        while !self.consumers.is_empty() && self.consumers.iter().all(|c| c.demand > 0) {
            let Some((event, selected)) = self.queue.pop() else { break };
            let before = assigned.len();
            for consumer in &mut self.consumers {
                if consumer.selector & selected != 0 {
                    consumer.demand -= 1;
                    assigned.push(Assignment { event, consumer: consumer.id });
                }
            }
            if assigned.len() == before {
                assigned.push(Assignment { event, consumer: NOBODY });
            }
        }
        Ok(())
    }

    fn columns(&self) -> Columns {
        Columns { selected: true, ..Columns::default() }
    }

    fn copies(&self) -> bool {
        true
    }
}
