//! From the buffer, by way of the dispatcher, to the consumers.

use super::{Core, Output};
use crate::consumer::Delivery;
use crate::dispatcher::{Assignment, Columns, DemandDispatcher, DispatchError, NOBODY, Offer};
use crate::event::{ConsumerId, DropReason, EventId, Now};
use crate::keys::Keys;
use crate::slots::{Place, Slot};

/// Events offered at once: enough that a call costs little for each, few enough
/// that no call takes long.
const MAX_OFFERED: usize = 4096;

impl Core {
    /// Offers what is fresh and assigns what was asked for, as long as there is
    /// both.
    pub(crate) fn pump(&mut self, stage: usize, now: Now) {
        loop {
            let Some(staged) = self.stages.get(stage) else { return };
            let may_assign = staged.asked > 0
                && (!staged.fresh.is_empty() || staged.offered > 0 && staged.has_new_demand);
            if !may_assign && staged.fresh.len() < MAX_OFFERED {
                break;
            }
            if let Err(why) = self.dispatch(stage, now) {
                self.dispatcher_failed(stage, why, now);
            }
        }
        // What nobody selects has gone, and the next of its key may come.
        if stage > 0 && self.config.ordered {
            self.pump(0, now);
        }
    }

    /// Asks the dispatcher once.
    fn dispatch(&mut self, stage: usize, now: Now) -> Result<(), DispatchError> {
        let Some(staged) = self.stages.get_mut(stage) else { return Ok(()) };
        staged.has_new_demand = false;
        let columns = staged.dispatcher.columns();
        while staged.offer.events.len() < MAX_OFFERED
            && let Some(id) = staged.fresh.pop_front()
        {
            let there = self.slots.get(id).is_some_and(|slot| slot.place == Place::Fresh);
            if let Some(slot) = there.then(|| self.slots.put(id, Place::Offered)).flatten() {
                staged.offer.add(slot, columns, &self.keys);
                staged.offered += 1;
            }
        }
        staged.offer.now = now;
        let mut assigned = std::mem::take(&mut staged.assigned);
        let answered = staged.dispatcher.dispatch(&staged.offer, &mut assigned);
        staged.offer.clear();
        let (guest, copies) = (staged.dispatcher.is_guest(), staged.dispatcher.copies());
        // What it assigned before it failed does not stand.
        let done = answered.and_then(|()| self.assign(stage, &assigned, copies, now));
        let nothing = assigned.is_empty();
        assigned.clear();
        let Some(staged) = self.stages.get_mut(stage) else { return Ok(()) };
        staged.assigned = assigned;
        done?;
        let idle = nothing && staged.in_flight == 0 && staged.asked > 0;
        if guest && idle && staged.fresh.is_empty() && staged.offered > 0 {
            return Err(DispatchError::Forgot(staged.offered));
        }
        Ok(())
    }

    /// Hands events to consumers. Up to an error, each stands.
    fn assign(
        &mut self,
        stage: usize,
        assigned: &[Assignment],
        copies: bool,
        now: Now,
    ) -> Result<(), DispatchError> {
        let mut before = None;
        for &Assignment { event, consumer } in assigned {
            let copy = copies && before == Some(event);
            before = Some(event);
            if copies && consumer == NOBODY {
                if let Some(staged) = self.stages.get_mut(stage) {
                    staged.offered -= 1;
                }
                self.drop_event(event, DropReason::Unselected);
                continue;
            }
            self.assign_one(stage, event, consumer, copy, now)?;
        }
        Ok(())
    }

    fn assign_one(
        &mut self,
        stage: usize,
        event: EventId,
        consumer: ConsumerId,
        copy: bool,
        now: Now,
    ) -> Result<(), DispatchError> {
        let Some(staged) = self.stages.get_mut(stage) else { return Ok(()) };
        let takes = staged.consumers.get_mut(consumer.index()).filter(|c| !c.cancelled);
        let Some(taker) = takes else { return Err(DispatchError::NoConsumer(consumer.0)) };
        if taker.asked == 0 {
            return Err(DispatchError::OverSent(consumer));
        }
        let expected = if copy { Place::Assigned } else { Place::Offered };
        let offered = |slot: &&Slot| slot.place == expected && usize::from(slot.stage) == stage;
        if self.slots.get(event).filter(offered).is_none() {
            return Err(DispatchError::NotOffered(event.get()));
        }
        if taker.waiting() == 0 || taker.waiting() + 1 == taker.config.batch_size as usize {
            self.woken.push((stage, consumer));
        }
        taker.asked -= 1;
        staged.asked -= 1;
        let Some(slot) = self.slots.put(event, Place::Assigned) else { return Ok(()) };
        taker.assign(Delivery { event, attempts: slot.attempts }, now.0);
        if copy {
            slot.copies += 1;
            return Ok(());
        }
        slot.copies = 1;
        staged.offered -= 1;
        staged.in_flight += 1;
        if let Some(key) = slot.key {
            self.keys.get_mut(key).waiting -= 1;
        }
        Ok(())
    }

    /// The dispatcher cannot be trusted: the version before it takes its place, or
    /// else the built-in one.
    pub(super) fn dispatcher_failed(&mut self, stage: usize, why: DispatchError, now: Now) {
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let dispatcher = staged.dispatcher.name().to_owned();
        let standby = staged.standby.take().and_then(|standby| standby.start().ok());
        staged.dispatcher = match standby {
            Some(standby) => standby,
            None => Box::<DemandDispatcher>::default(),
        };
        self.outputs.push(Output::Replaced { stage, dispatcher, why });
        self.resync(stage, now);
        self.pump(stage, now);
    }

    /// Tells a new dispatcher of all there is: consumers, what they ask for, and
    /// the events that wait.
    pub(super) fn resync(&mut self, stage: usize, now: Now) {
        self.reoffer(stage);
        let Some(staged) = self.stages.get_mut(stage) else { return };
        staged.offer.clear();
        let consumers = (0_u32..).take(staged.consumers.len()).map(ConsumerId);
        for consumer in consumers {
            if let Err(why) = self.subscribe_consumer(stage, consumer) {
                // Its successor gets to know them all.
                return self.dispatcher_failed(stage, why, now);
            }
        }
    }

    /// A consumer subscribes, and asks for what it is still to get.
    pub(super) fn subscribe_consumer(
        &mut self,
        stage: usize,
        consumer: ConsumerId,
    ) -> Result<(), DispatchError> {
        let Some(staged) = self.stages.get_mut(stage) else { return Ok(()) };
        let Some(joining) = staged.consumers.get_mut(consumer.index()).filter(|c| !c.cancelled)
        else {
            return Ok(());
        };
        if joining.demand.outstanding() == 0 {
            joining.asked = joining.demand.first();
            staged.asked += joining.asked;
        }
        staged.has_new_demand = true;
        let (dispatcher, asked) = (&mut staged.dispatcher, joining.asked);
        dispatcher.subscribe(consumer, &joining.config.subscription)?;
        match asked {
            0 => Ok(()),
            asked => dispatcher.ask(consumer, asked),
        }
    }

    /// Events that were assigned and not started wait again.
    pub(super) fn give_back(&mut self, stage: usize, deliveries: &[Delivery]) {
        for delivery in deliveries {
            let Some(slot) = self.slots.put(delivery.event, Place::Fresh) else { continue };
            if let Some(key) = slot.key {
                self.keys.get_mut(key).waiting += 1;
            }
            if let Some(staged) = self.stages.get_mut(stage) {
                staged.in_flight -= 1;
                if staged.dispatcher.columns().finished {
                    staged.offer.finished.push(delivery.event);
                }
            }
        }
    }

    /// Takes back what the dispatcher was told of and has not assigned, so that it
    /// is told of all that waits in the order of its coming.
    pub(super) fn reoffer(&mut self, stage: usize) {
        let Ok(number) = u8::try_from(stage) else { return };
        let offered = self.slots.in_order(number, Place::Offered);
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let has_keys = staged.dispatcher.columns().keys;
        for id in offered {
            let Some(slot) = self.slots.put(id, Place::Fresh) else { continue };
            staged.offer.withdrawn.push(id);
            if has_keys {
                let hash = slot.key.map_or(0, |key| self.keys.get(key).hash);
                staged.offer.withdrawn_keys.push(hash);
            }
        }
        (staged.offered, staged.has_new_demand) = (0, true);
        staged.fresh = self.slots.in_order(number, Place::Fresh).into();
    }
}

impl Offer {
    fn add(&mut self, slot: &Slot, columns: Columns, keys: &Keys) {
        self.events.push(slot.id);
        if columns.keys {
            self.keys.push(slot.key.map_or(0, |key| keys.get(key).hash));
        }
        if columns.key_texts {
            let text = slot.key.map_or("", |key| &keys.get(key).text);
            self.key_texts.extend_from_slice(text.as_bytes());
            self.key_ends.push(u32::try_from(self.key_texts.len()).unwrap_or(u32::MAX));
        }
        if columns.sizes {
            self.sizes.push(u32::try_from(slot.payload.len()).unwrap_or(u32::MAX));
        }
        if columns.priorities {
            self.priorities.push(slot.priority);
        }
        if columns.times {
            self.times.push(slot.enqueued_ns);
        }
        if columns.selected {
            self.selected
                .push(slot.extra.as_ref().and_then(|extra| extra.selected).unwrap_or(u64::MAX));
        }
    }
}
