//! The dispatcher `partition`: the events of a key to one consumer.

use super::queue::Queue;
use super::{Assignment, Columns, DispatchError, Dispatcher, Offer, Subscription};
use crate::event::ConsumerId;

/// Sends all events of a key to the consumer of its partition, in order. An event without a key
/// belongs to partition 0.
///
/// It is `GenStage.PartitionDispatcher` (`lib/gen_stage/dispatchers/partition_dispatcher.ex`). That
/// one discards the events of a partition whose consumer leaves; here they wait for the next
/// consumer.
#[derive(Debug)]
pub(crate) struct PartitionDispatcher {
    partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
struct Partition {
    queue: Queue<()>,
    consumer: Option<ConsumerId>,
    demand: u32,
}

impl PartitionDispatcher {
    /// Makes a dispatcher with that many partitions, at least one.
    pub(crate) fn new(partitions: u32) -> Self {
        let partitions = (0..partitions.max(1)).map(|_| Partition::default()).collect();
        Self { partitions }
    }

    fn of(&mut self, consumer: ConsumerId) -> Option<&mut Partition> {
        self.partitions.iter_mut().find(|partition| partition.consumer == Some(consumer))
    }
}

/// The partition of a key, by its hash. Hashes spread over all 64 bits, and so over any number of
/// partitions.
fn partition(key: u64, partitions: usize) -> usize {
    ((u128::from(key) * partitions as u128) >> 64) as usize
}

impl Dispatcher for PartitionDispatcher {
    fn name(&self) -> &str {
        "partition"
    }

    fn subscribe(
        &mut self,
        consumer: ConsumerId,
        options: &Subscription,
    ) -> Result<(), DispatchError> {
        let number = options.partition.unwrap_or_default();
        let partitions = self.partitions.len();
        match self.partitions.get_mut(number as usize) {
            Some(partition) if partition.consumer.is_none() => {
                partition.consumer = Some(consumer);
                partition.demand = 0;
                Ok(())
            }
            Some(_) => {
                Err(DispatchError::Failed(format!("partition {number} has a consumer already")))
            }
            None => Err(DispatchError::Failed(format!(
                "there is no partition {number}; there are {partitions}, counted from 0"
            ))),
        }
    }

    fn cancel(&mut self, consumer: ConsumerId) -> Result<(), DispatchError> {
        if let Some(partition) = self.of(consumer) {
            partition.consumer = None;
            partition.demand = 0;
        }
        Ok(())
    }

    fn ask(&mut self, consumer: ConsumerId, demand: u32) -> Result<(), DispatchError> {
        if let Some(partition) = self.of(consumer) {
            partition.demand = partition.demand.saturating_add(demand);
        }
        Ok(())
    }

    fn dispatch(
        &mut self,
        offer: &Offer,
        assigned: &mut Vec<Assignment>,
    ) -> Result<(), DispatchError> {
        let partitions = self.partitions.len();
        for (event, key) in offer.withdrawn.iter().zip(&offer.withdrawn_keys) {
            if let Some(partition) = self.partitions.get_mut(partition(*key, partitions)) {
                partition.queue.withdraw(*event);
            }
        }
        for (event, key) in offer.events.iter().zip(&offer.keys) {
            if let Some(partition) = self.partitions.get_mut(partition(*key, partitions)) {
                partition.queue.push(*event, ());
            }
        }
        for partition in &mut self.partitions {
            let Some(consumer) = partition.consumer else { continue };
            while partition.demand > 0
                && let Some((event, ())) = partition.queue.pop()
            {
                partition.demand -= 1;
                assigned.push(Assignment { event, consumer });
            }
        }
        Ok(())
    }

    fn columns(&self) -> Columns {
        Columns { keys: true, ..Columns::default() }
    }
}
