//! What comes of the events a worker had.

use std::time::Duration;

use millrace_session::channel::SocketRef;
use millrace_wire::Payload;

use super::{Core, Dead, Output};
use crate::consumer::{Consumer, Delivery};
use crate::event::{ConsumerId, DropReason, EventId, NewEvent, Now, Verdict};
use crate::slots::Place;

/// How a call of a worker ended.
#[derive(Clone, Debug)]
pub enum CallEnd {
    /// With verdicts on some events, by their place in the batch; the others are
    /// done.
    Answered(Vec<(u32, Verdict)>),
    /// It came to nothing: it trapped, or took too long.
    Failed {
        /// For the dead letters.
        reason: String,
    },
    /// There was no call, which is not the events' fault.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// How an event leaves a consumer for good.
#[derive(Clone, Debug)]
enum End {
    Done,
    Dropped(DropReason, String),
    Failed { attempts: u16, reason: String },
}

impl Core {
    /// A call has ended. `deliveries` are those of its batch.
    pub(crate) fn finish(
        &mut self,
        stage: usize,
        consumer: ConsumerId,
        deliveries: &[Delivery],
        end: CallEnd,
        now: Now,
    ) {
        let Some(worked) = self.consumer(stage, consumer) else { return };
        worked.calls -= 1;
        // It may have been at its bound.
        self.woken.push((stage, consumer));
        match end {
            CallEnd::Failed { .. } if deliveries.len() > 1 => {
                if let Some(worked) = self.consumer(stage, consumer) {
                    worked.split(deliveries);
                }
                for delivery in deliveries {
                    self.slots.put(delivery.event, Place::Assigned);
                }
                return;
            }
            CallEnd::Failed { reason } => {
                for delivery in deliveries {
                    let verdict = Verdict::Retry { after_ms: None, reason: reason.clone() };
                    self.apply_verdict(stage, consumer, *delivery, verdict, now);
                }
            }
            CallEnd::Unavailable { retry_after } => {
                for delivery in deliveries {
                    self.delay(stage, consumer, *delivery, retry_after, now);
                }
            }
            CallEnd::Answered(exceptions) if exceptions.is_empty() => {
                deliveries.iter().for_each(|done| self.end(stage, done.event, &End::Done));
            }
            CallEnd::Answered(mut exceptions) => {
                exceptions.sort_by_key(|(index, _)| *index);
                let mut exceptions = exceptions.into_iter().peekable();
                for (index, delivery) in (0_u32..).zip(deliveries) {
                    let verdict = exceptions.next_if(|(of, _)| *of == index);
                    let verdict = verdict.map_or(Verdict::Ok, |(_, verdict)| verdict);
                    self.apply_verdict(stage, consumer, *delivery, verdict, now);
                }
            }
        }
        self.handled(stage, consumer, deliveries, now);
    }

    /// Events that were too old when their turn came.
    pub(super) fn expired(
        &mut self,
        stage: usize,
        consumer: ConsumerId,
        deliveries: &[Delivery],
        now: Now,
    ) {
        if deliveries.is_empty() {
            return;
        }
        for delivery in deliveries {
            let reason = "it waited longer than deadline_ms".to_owned();
            self.end(stage, delivery.event, &End::Dropped(DropReason::Expired, reason));
        }
        self.handled(stage, consumer, deliveries, now);
    }

    /// Events have left a consumer, which asks for more.
    fn handled(&mut self, stage: usize, consumer: ConsumerId, of: &[Delivery], now: Now) {
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let has_finished = staged.dispatcher.columns().finished;
        if has_finished {
            staged.offer.finished.extend(of.iter().map(|delivery| delivery.event));
        }
        // One that holds events back may let them go now, whether or not it is asked.
        staged.has_new_demand |= staged.dispatcher.is_guest();
        let copies = staged.dispatcher.copies();
        let Some(worked) = staged.consumers.get_mut(consumer.index()) else { return };
        let kept = if copies { std::mem::take(&mut worked.kept) } else { 0 };
        let handled = u32::try_from(of.len()).unwrap_or(u32::MAX).saturating_sub(kept);
        let asked = worked.demand.handled(handled);
        if asked > 0 && !worked.cancelled {
            worked.asked += asked;
            staged.asked += asked;
            staged.has_new_demand = true;
            if let Err(why) = staged.dispatcher.ask(consumer, asked) {
                self.dispatcher_failed(stage, why, now);
            }
        }
        for stage in 0..self.stages.len() {
            self.pump(stage, now);
        }
    }

    fn apply_verdict(
        &mut self,
        stage: usize,
        consumer: ConsumerId,
        delivery: Delivery,
        verdict: Verdict,
        now: Now,
    ) {
        let event = delivery.event;
        match verdict {
            Verdict::Ok => self.end(stage, event, &End::Done),
            Verdict::Reply { status, payload } => {
                if let Some(to) = self.waiting_for(event) {
                    self.outputs.push(Output::Reply { to, status, payload });
                }
                self.end(stage, event, &End::Done);
            }
            Verdict::Forward(payload) => {
                self.slots.replace_payload(event, payload);
                self.end(stage, event, &End::Done);
            }
            Verdict::Drop { reason } => {
                self.end(stage, event, &End::Dropped(DropReason::Worker, reason));
            }
            Verdict::Fail { reason } => {
                self.end(stage, event, &End::Failed { attempts: delivery.attempts + 1, reason });
            }
            Verdict::Retry { after_ms, reason } => {
                let attempts = delivery.attempts.saturating_add(1);
                if attempts >= self.config.retry.max_attempts {
                    return self.end(stage, event, &End::Failed { attempts, reason });
                }
                let random = self.random();
                let backoff = || self.config.retry.wait(attempts, random);
                let after = after_ms.map_or_else(backoff, Duration::from_millis);
                self.totals.retried += 1;
                self.delay(stage, consumer, Delivery { event, attempts }, after, now);
            }
        }
    }

    /// An event is tried again later. A broadcast's copy comes back to the same
    /// consumer, of whose demand it remains a part.
    fn delay(
        &mut self,
        stage: usize,
        consumer: ConsumerId,
        delivery: Delivery,
        after: Duration,
        now: Now,
    ) {
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let due_ns = now.0.saturating_add(after_ns);
        if staged.dispatcher.copies() {
            if let Some(worked) = staged.consumers.get_mut(consumer.index()) {
                worked.kept += 1;
            }
            return self.delayed.push(due_ns, delivery, Some(consumer));
        }
        let Some(slot) = self.slots.put(delivery.event, Place::Delayed) else { return };
        slot.attempts = delivery.attempts;
        staged.in_flight -= 1;
        if let Some(key) = slot.key {
            self.keys.get_mut(key).waiting += 1;
        }
        self.delayed.push(due_ns, delivery, None);
    }

    /// Sends on what has waited long enough to be tried again.
    pub(crate) fn tick(&mut self, now: Now) {
        let mut any = false;
        while let Some((delivery, consumer)) = self.delayed.pop_due(now.0) {
            any = true;
            let Some(slot) = self.slots.get(delivery.event) else { continue };
            let (stage, place) = (usize::from(slot.stage), slot.place);
            match consumer {
                Some(consumer) => self.return_copy(stage, consumer, delivery, now),
                None if place == Place::Delayed => self.requeue(stage, delivery.event),
                None => {}
            }
        }
        for stage in 0..if any { self.stages.len() } else { 0 } {
            self.pump(stage, now);
        }
    }

    /// A broadcast's copy, to its consumer.
    fn return_copy(&mut self, stage: usize, consumer: ConsumerId, delivery: Delivery, now: Now) {
        match self.consumer(stage, consumer) {
            Some(taker) if !taker.cancelled => {
                taker.assign(delivery, now.0);
                self.woken.push((stage, consumer));
            }
            _ => self.drop_copy(stage, delivery),
        }
    }

    /// The consumer that had a broadcast's copy has left.
    pub(super) fn drop_copy(&mut self, stage: usize, delivery: Delivery) {
        let Delivery { event, attempts } = delivery;
        let reason = "its consumer has left".to_owned();
        self.end(stage, event, &End::Failed { attempts, reason });
    }

    /// An event of a stage is to be dispatched.
    fn requeue(&mut self, stage: usize, event: EventId) {
        self.slots.put(event, Place::Fresh);
        if let Some(staged) = self.stages.get_mut(stage) {
            staged.fresh.push_back(event);
        }
    }

    /// An event, or a copy of it, has left its consumer for good. Of copies, one that
    /// failed outweighs those that were handled, and these those that were dropped.
    fn end(&mut self, stage: usize, event: EventId, end: &End) {
        let Some(slot) = self.slots.get_mut(event) else { return };
        slot.copies = slot.copies.saturating_sub(1);
        slot.failed |= matches!(end, End::Failed { .. });
        slot.handled |= matches!(end, End::Done);
        let (copies, failed, handled) = (slot.copies, slot.failed, slot.handled);
        let number = slot.stored;
        if copies > 0 {
            return self.dead_letter(event, stage, end);
        }
        if let Some(staged) = self.stages.get_mut(stage) {
            staged.in_flight -= 1;
        }
        self.dead_letter(event, stage, end);
        match end {
            _ if failed => self.totals.failed += 1,
            End::Dropped(reason, _) if !handled => self.totals.drop_one(*reason),
            _ if self.stages.len() > stage + 1 => return self.advance(stage, event),
            _ => self.totals.done += 1,
        }
        self.storage.ack(number);
        self.release(event);
    }

    /// Drops all that no worker has started on: the server stops.
    pub(crate) fn abandon(&mut self, now: Now) {
        let consumers = |stage: &super::Stage| stage.consumers.len();
        let stages: Vec<usize> = self.stages.iter().map(consumers).collect();
        for (stage, consumers) in stages.into_iter().enumerate() {
            for consumer in (0_u32..).take(consumers).map(ConsumerId) {
                self.cancel(stage, consumer, now);
            }
        }
        // One that goes may set the next of its key free.
        while self.slots.buffered() > 0 {
            for (id, stage, place) in self.slots.waiting() {
                self.withdraw(id, stage, place);
                self.drop_event(id, DropReason::Shutdown);
            }
        }
    }

    /// An event that no consumer has will not be handled.
    pub(super) fn drop_event(&mut self, event: EventId, reason: DropReason) {
        let Some(slot) = self.slots.get(event) else { return };
        let (stage, key, number) = (usize::from(slot.stage), slot.key, slot.stored);
        if let Some(key) = key.filter(|_| slot.place.is_buffered()) {
            self.keys.get_mut(key).waiting -= 1;
        }
        self.totals.drop_one(reason);
        self.dead_letter(event, stage, &End::Dropped(reason, String::new()));
        match reason {
            // A storage that outlives the server has it still.
            DropReason::Shutdown => self.storage.nack(number),
            _ => self.storage.ack(number),
        }
        self.release(event);
    }

    /// To the next stage.
    fn advance(&mut self, stage: usize, event: EventId) {
        let Some(slot) = self.slots.put(event, Place::Fresh) else { return };
        slot.stage += 1;
        slot.attempts = 0;
        slot.copies = 1;
        slot.handled = false;
        if let Some(key) = slot.key {
            self.keys.get_mut(key).waiting += 1;
        }
        if let Some(next) = self.stages.get_mut(stage + 1) {
            next.fresh.push_back(event);
        }
    }

    /// Lets an event go, and the next of its key if it waited for it.
    fn release(&mut self, event: EventId) {
        let Some((Some(key), place)) = self.slots.remove(event) else { return };
        if self.config.ordered
            && place != Place::Blocked
            && let Some(next) = self.unblock(key)
        {
            self.requeue(0, next);
        }
        self.keys.release(key);
    }

    /// Tells the host of an event that was not handled: who waits for an answer
    /// gets one, and it may be wanted later.
    fn dead_letter(&mut self, event: EventId, stage: usize, end: &End) {
        let (attempts, reason) = match end {
            End::Done => return,
            End::Dropped(reason, text) if text.is_empty() => (0, reason.as_str().to_owned()),
            End::Dropped(_, text) => (0, text.clone()),
            End::Failed { attempts, reason } => (*attempts, reason.clone()),
        };
        if let Some(to) = self.waiting_for(event) {
            let payload = Payload::reason(&reason);
            self.outputs.push(Output::Reply { to, status: "error".to_owned(), payload });
        }
        let Some(slot) = self.slots.get(event) else { return };
        let key = slot.key.map(|key| self.keys.get(key).text.clone());
        if let End::Dropped(reason, _) = end {
            self.outputs.push(Output::Dropped { key: key.clone(), reason: *reason });
            if !self.config.keep_dropped {
                return;
            }
        }
        let (payload, priority) = (slot.payload.clone(), slot.priority);
        let enqueued_unix_ms = slot.enqueued_unix_ms;
        let dead = Dead { payload, key, priority, enqueued_unix_ms, stage, attempts, reason };
        self.outputs.push(Output::Dead(dead));
    }

    /// The same for one that never was in hand.
    pub(super) fn dead_letter_new(&mut self, event: NewEvent, reason: DropReason) {
        let NewEvent { payload, key, priority, enqueued_unix_ms, reply_to, .. } = event;
        if let Some(to) = reply_to {
            let payload = Payload::reason(reason.as_str());
            self.outputs.push(Output::Reply { to, status: "error".to_owned(), payload });
        }
        self.outputs.push(Output::Dropped { key: key.clone(), reason });
        if self.config.keep_dropped {
            let (stage, attempts, reason) = (0, 0, reason.as_str().to_owned());
            let dead = Dead { payload, key, priority, enqueued_unix_ms, stage, attempts, reason };
            self.outputs.push(Output::Dead(dead));
        }
    }

    fn waiting_for(&mut self, event: EventId) -> Option<Box<SocketRef>> {
        self.slots.get_mut(event)?.extra.as_mut()?.reply_to.take()
    }

    pub(super) fn consumer(&mut self, stage: usize, consumer: ConsumerId) -> Option<&mut Consumer> {
        self.stages.get_mut(stage)?.consumers.get_mut(consumer.index())
    }
}
