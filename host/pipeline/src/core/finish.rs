//! The end of a worker's call: which events are done, tried again later, or given up.

use std::time::Duration;

use millrace_session::channel::SocketRef;
use millrace_wire::Payload;

use super::{Core, Dead, Output};
use crate::consumer::{Consumer, Delivery};
use crate::event::{DropReason, EventId, NewEvent, Now, StageConsumer, Verdict};
use crate::slots::Place;

/// The end of a call of a worker.
#[derive(Clone, Debug)]
pub enum CallEnd {
    /// The worker answered: verdicts on some events, each with the event's place in the batch,
    /// counted from 0. All other events of the batch are done.
    Answered(Vec<(u32, Verdict)>),
    /// The call trapped or took too long. A batch of several events is split, and each half is
    /// tried again at once; a single event is tried again after the pipeline's backoff.
    Failed {
        /// The reason that the dead letters show.
        reason: String,
    },
    /// The worker could not be called. That costs the events no attempt.
    Unavailable {
        /// The time until the events are tried again.
        retry_after: Duration,
    },
}

/// How an event, or a consumer's copy of it, leaves its stage.
#[derive(Clone, Debug)]
enum End {
    Done,
    Dropped(DropReason, String),
    Failed { attempts: u16, reason: String },
}

impl Core {
    /// Ends a call of a consumer. `deliveries` are the events of its batch.
    pub(crate) fn finish(
        &mut self,
        consumer: StageConsumer,
        deliveries: &[Delivery],
        end: CallEnd,
        now: Now,
    ) {
        let Some(caller) = self.consumer(consumer) else { return };
        caller.calls -= 1;
        // The consumer may have had as many calls under way as it may.
        self.woken.push(consumer);
        match end {
            CallEnd::Failed { .. } if deliveries.len() > 1 => {
                if let Some(caller) = self.consumer(consumer) {
                    caller.split(deliveries);
                }
                for delivery in deliveries {
                    self.slots.put(delivery.event, Place::Assigned);
                }
                return;
            }
            CallEnd::Failed { reason } => {
                for delivery in deliveries {
                    let verdict = Verdict::Retry { after_ms: None, reason: reason.clone() };
                    self.apply_verdict(consumer, *delivery, verdict, now);
                }
            }
            CallEnd::Unavailable { retry_after } => {
                for delivery in deliveries {
                    self.delay(consumer, *delivery, retry_after, now);
                }
            }
            CallEnd::Answered(exceptions) if exceptions.is_empty() => {
                deliveries.iter().for_each(|done| self.end(consumer.stage, done.event, &End::Done));
            }
            CallEnd::Answered(mut exceptions) => {
                exceptions.sort_by_key(|(index, _)| *index);
                let mut exceptions = exceptions.into_iter().peekable();
                for (index, delivery) in (0_u32..).zip(deliveries) {
                    let verdict = exceptions.next_if(|(of, _)| *of == index);
                    let verdict = verdict.map_or(Verdict::Ok, |(_, verdict)| verdict);
                    self.apply_verdict(consumer, *delivery, verdict, now);
                }
            }
        }
        self.ask_again(consumer, deliveries, now);
    }

    /// Drops events that were older than the deadline when a call was to start on them.
    pub(super) fn expire(&mut self, consumer: StageConsumer, deliveries: &[Delivery], now: Now) {
        if deliveries.is_empty() {
            return;
        }
        for delivery in deliveries {
            let reason = "it waited longer than deadline_ms".to_owned();
            self.end(consumer.stage, delivery.event, &End::Dropped(DropReason::Expired, reason));
        }
        self.ask_again(consumer, deliveries, now);
    }

    /// Lets a consumer ask for more events, as these have left it, and dispatches in all stages.
    fn ask_again(&mut self, consumer: StageConsumer, handled: &[Delivery], now: Now) {
        let StageConsumer { stage, id } = consumer;
        let Some(staged) = self.stages.get_mut(stage) else { return };
        if staged.dispatcher.columns().finished {
            staged.offer.finished.extend(handled.iter().map(|delivery| delivery.event));
        }
        // A plugin may hold events back until others have ended, whether or not it is asked.
        staged.has_new_demand |= staged.dispatcher.is_guest();
        let copies = staged.dispatcher.copies();
        let Some(asking) = staged.consumers.get_mut(id.index()) else { return };
        let kept = if copies { std::mem::take(&mut asking.kept) } else { 0 };
        let handled = u32::try_from(handled.len()).unwrap_or(u32::MAX).saturating_sub(kept);
        let asked = asking.demand.handled(handled);
        if asked > 0 && !asking.cancelled {
            asking.asked += asked;
            staged.asked += asked;
            staged.has_new_demand = true;
            if let Err(why) = staged.dispatcher.ask(id, asked) {
                self.dispatcher_failed(stage, why, now);
            }
        }
        for stage in 0..self.stages.len() {
            self.pump(stage, now);
        }
    }

    fn apply_verdict(
        &mut self,
        consumer: StageConsumer,
        delivery: Delivery,
        verdict: Verdict,
        now: Now,
    ) {
        let (stage, event) = (consumer.stage, delivery.event);
        match verdict {
            Verdict::Ok => self.end(stage, event, &End::Done),
            Verdict::Reply { status, payload } => {
                if let Some(to) = self.take_reply_to(event) {
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
                self.delay(consumer, Delivery { event, attempts }, after, now);
            }
        }
    }

    /// Has an event tried again after the time `after`. Other than a copy of a broadcast, it may
    /// go to any consumer then. A copy comes back to the same consumer, and stays a part of what
    /// that has asked for.
    fn delay(&mut self, consumer: StageConsumer, delivery: Delivery, after: Duration, now: Now) {
        let StageConsumer { stage, id } = consumer;
        let Some(staged) = self.stages.get_mut(stage) else { return };
        let after_ns = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        let due_ns = now.0.saturating_add(after_ns);
        if staged.dispatcher.copies() {
            if let Some(keeping) = staged.consumers.get_mut(id.index()) {
                keeping.kept += 1;
            }
            return self.delayed.push(due_ns, delivery, Some(id));
        }
        let Some(slot) = self.slots.put(delivery.event, Place::Delayed) else { return };
        slot.attempts = delivery.attempts;
        staged.in_flight -= 1;
        if let Some(key) = slot.key {
            self.keys.get_mut(key).waiting += 1;
        }
        self.delayed.push(due_ns, delivery, None);
    }

    /// Requeues the events whose time to be tried again has come.
    pub(crate) fn tick(&mut self, now: Now) {
        let mut any = false;
        while let Some((delivery, consumer)) = self.delayed.pop_due(now.0) {
            any = true;
            let Some(slot) = self.slots.get(delivery.event) else { continue };
            let (stage, place) = (usize::from(slot.stage), slot.place);
            match consumer {
                Some(id) => self.return_copy(StageConsumer { stage, id }, delivery, now),
                None if place == Place::Delayed => self.requeue(stage, delivery.event),
                None => {}
            }
        }
        for stage in 0..if any { self.stages.len() } else { 0 } {
            self.pump(stage, now);
        }
    }

    /// Gives a copy of a broadcast back to its consumer.
    fn return_copy(&mut self, consumer: StageConsumer, delivery: Delivery, now: Now) {
        match self.consumer(consumer) {
            Some(taker) if !taker.cancelled => {
                taker.assign(delivery, now.0);
                self.woken.push(consumer);
            }
            _ => self.drop_copy(consumer.stage, delivery),
        }
    }

    /// Gives up the copy of a broadcast whose consumer has left.
    pub(super) fn drop_copy(&mut self, stage: usize, delivery: Delivery) {
        let Delivery { event, attempts } = delivery;
        let reason = "its consumer has left".to_owned();
        self.end(stage, event, &End::Failed { attempts, reason });
    }

    /// Puts an event behind those that the dispatcher of its stage is to be told of.
    fn requeue(&mut self, stage: usize, event: EventId) {
        self.slots.put(event, Place::Fresh);
        if let Some(staged) = self.stages.get_mut(stage) {
            staged.fresh.push_back(event);
        }
    }

    /// Ends an event in its stage, or a copy of it. With the last copy of a broadcast the event
    /// itself ends: it has failed if a copy failed, else it is done if a copy was handled, else
    /// it is dropped.
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

    /// Drops all events that no worker has started on, as the server stops.
    pub(crate) fn abandon(&mut self, now: Now) {
        let consumers = |stage: &super::Stage| stage.consumers.len();
        let stages: Vec<usize> = self.stages.iter().map(consumers).collect();
        for (stage, consumers) in stages.into_iter().enumerate() {
            for id in (0_u32..).take(consumers) {
                self.cancel(StageConsumer::new(stage, id), now);
            }
        }
        // An event that goes may unblock the next of its key, which then waits too.
        while self.slots.buffered() > 0 {
            for (id, stage, place) in self.slots.waiting() {
                self.withdraw(id, stage, place);
                self.drop_event(id, DropReason::Shutdown);
            }
        }
    }

    /// Drops an event that waits in the buffer.
    pub(super) fn drop_event(&mut self, event: EventId, reason: DropReason) {
        let Some(slot) = self.slots.get(event) else { return };
        let (stage, key, number) = (usize::from(slot.stage), slot.key, slot.stored);
        if let Some(key) = key.filter(|_| slot.place.is_buffered()) {
            self.keys.get_mut(key).waiting -= 1;
        }
        self.totals.drop_one(reason);
        self.dead_letter(event, stage, &End::Dropped(reason, String::new()));
        match reason {
            // A storage that outlives the server keeps the event for the next start.
            DropReason::Shutdown => self.storage.nack(number),
            _ => self.storage.ack(number),
        }
        self.release(event);
    }

    /// Sends an event on to the next stage.
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

    /// Lets an event go that has ended, and unblocks the next of its key.
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

    /// Reports an event that was not handled: the socket that waits for an answer gets an error,
    /// and the event becomes a dead letter if it failed, or was dropped with `keep_dropped`.
    fn dead_letter(&mut self, event: EventId, stage: usize, end: &End) {
        let (attempts, reason) = match end {
            End::Done => return,
            End::Dropped(reason, text) if text.is_empty() => (0, reason.as_str().to_owned()),
            End::Dropped(_, text) => (0, text.clone()),
            End::Failed { attempts, reason } => (*attempts, reason.clone()),
        };
        if let Some(to) = self.take_reply_to(event) {
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

    /// [`Self::dead_letter`] for an event that never was in hand.
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

    /// Takes out of an event the socket that waits for its answer, so that it gets only one.
    fn take_reply_to(&mut self, event: EventId) -> Option<Box<SocketRef>> {
        self.slots.get_mut(event)?.extra.as_mut()?.reply_to.take()
    }

    pub(super) fn consumer(&mut self, consumer: StageConsumer) -> Option<&mut Consumer> {
        self.stages.get_mut(consumer.stage)?.consumers.get_mut(consumer.id.index())
    }
}
