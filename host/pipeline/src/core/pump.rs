//! The way of events from the buffer to the consumers: the dispatcher is offered them, and what
//! it assigns is checked.

use super::{Core, Output};
use crate::consumer::Delivery;
use crate::dispatcher::{Assignment, Columns, DemandDispatcher, DispatchError, NOBODY, Offer};
use crate::event::{ConsumerId, DropReason, EventId, Now, StageConsumer};
use crate::keys::Keys;
use crate::slots::{Place, Slot};

/// The number of events that are offered in one call at most: enough that a call costs little
/// for each, few enough that no call takes long.
const MAX_OFFERED: usize = 4096;

impl Core {
    /// Dispatches in a stage as long as consumers ask for events and events wait. Without demand
    /// it still offers events once [`MAX_OFFERED`] wait, so that no offer gets larger.
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
        // Events that nobody selects have been dropped, which may have unblocked others in the
        // first stage.
        if stage > 0 && self.config.ordered {
            self.pump(0, now);
        }
    }

    /// Offers events to the dispatcher once, and assigns what it answers.
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
        // If the call failed, what it assigned before that is not carried out.
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

    /// Carries out what a dispatcher assigned. At an assignment that breaks the contract it
    /// stops; those before it hold.
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
            self.woken.push(StageConsumer { stage, id: consumer });
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

    /// Replaces a dispatcher that cannot be trusted any more: by the version before it, or else
    /// by the built-in `demand`.
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

    /// Tells a new dispatcher the consumers of its stage and their demand. The events that wait
    /// are offered to it next.
    pub(super) fn resync(&mut self, stage: usize, now: Now) {
        self.reoffer(stage);
        let Some(staged) = self.stages.get_mut(stage) else { return };
        staged.offer.clear();
        for id in (0_u32..).take(staged.consumers.len()).map(ConsumerId) {
            if let Err(why) = self.subscribe_consumer(StageConsumer { stage, id }) {
                // The dispatcher that replaces it is told of all consumers.
                return self.dispatcher_failed(stage, why, now);
            }
        }
    }

    /// Subscribes a consumer with the dispatcher of its stage, and asks for the events that it
    /// has asked for and not been assigned; for `max_demand` if it is new.
    pub(super) fn subscribe_consumer(
        &mut self,
        consumer: StageConsumer,
    ) -> Result<(), DispatchError> {
        let StageConsumer { stage, id } = consumer;
        let Some(staged) = self.stages.get_mut(stage) else { return Ok(()) };
        let Some(joining) = staged.consumers.get_mut(id.index()).filter(|c| !c.cancelled) else {
            return Ok(());
        };
        if joining.demand.outstanding() == 0 {
            joining.asked = joining.demand.first();
            staged.asked += joining.asked;
        }
        staged.has_new_demand = true;
        let (dispatcher, asked) = (&mut staged.dispatcher, joining.asked);
        dispatcher.subscribe(id, &joining.config.subscription)?;
        match asked {
            0 => Ok(()),
            asked => dispatcher.ask(id, asked),
        }
    }

    /// Puts events back into the buffer that a consumer had been assigned and has not started.
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

    /// Withdraws the events that the dispatcher was offered and has not assigned, so that all
    /// that wait are offered to it again, in the order in which they were enqueued.
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
