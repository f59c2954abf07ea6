//! A task for each consumer: what it works on, and what came of that.

use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::sleep_until;

use super::{Aftermath, Pipeline};
use crate::core::{Batch, CallEnd, Next};
use crate::event::{ConsumerId, Verdict};
use crate::worker::{Job, StageName, Worked, WorkerCall};

impl Pipeline {
    /// One consumer, for as long as the server runs.
    pub(super) async fn consume(self: Arc<Self>, stage: usize, consumer: ConsumerId) {
        let Some(seat) = self.seat(stage, consumer) else { return };
        let mut calling = WorkerCall::new(std::future::pending());
        let (mut batch, mut ended) = (Batch::default(), None);
        let mut aftermath = Aftermath::default();
        loop {
            // A busy pipeline lets others run.
            consume_budget().await;
            match self.step(stage, consumer, ended.take(), &mut batch, &mut aftermath) {
                Next::Call => {
                    let job = Job {
                        stage: StageName { pipeline: Arc::clone(&self.name), stage: stage as u32 },
                        batch: std::mem::take(&mut batch),
                        timeout: seat.timeout,
                    };
                    Arc::clone(&seat.worker).start(job, &mut calling);
                    match std::future::poll_fn(|cx| Poll::Ready(calling.poll(cx))).await {
                        Poll::Ready((worked_on, worked)) => {
                            batch = worked_on;
                            ended = Some(self.carry_out(&batch, worked));
                        }
                        Poll::Pending => {
                            let empty = WorkerCall::new(std::future::pending());
                            let calling = std::mem::replace(&mut calling, empty);
                            self.calls.spawn(Arc::clone(&self).wait(stage, consumer, calling));
                        }
                    }
                }
                Next::Wait(None) => seat.woken.notified().await,
                Next::Wait(Some(until)) => {
                    let until = self.started + Duration::from_nanos(until);
                    tokio::select! {
                        () = seat.woken.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Takes how the call with `batch` ended, if one did, and fills `batch` with
    /// what the next one is to work on.
    fn step(
        &self,
        stage: usize,
        consumer: ConsumerId,
        ended: Option<CallEnd>,
        batch: &mut Batch,
        aftermath: &mut Aftermath,
    ) -> Next {
        let next = {
            let mut inner = self.lock();
            let now = self.now();
            if let Some(ended) = ended {
                inner.core.finish(stage, consumer, &batch.deliveries, ended, now);
            }
            batch.clear();
            let at = self.started.into_std() + Duration::from_nanos(now.0);
            // What is transformed has not started yet.
            let is_last = stage + 1 == self.stages.len();
            let rate = inner.rate.as_mut().filter(|_| is_last);
            let allowed = rate.map_or(usize::MAX, |rate| rate.available(at));
            let mut next = inner.core.take(stage, consumer, allowed, now, batch);
            if let Some(rate) = inner.rate.as_mut().filter(|_| is_last) {
                rate.spend(batch.len() as f64, at);
                if let Next::Wait(until) = next
                    && allowed == 0
                {
                    let wait = u64::try_from(rate.until_next(at).as_nanos()).unwrap_or(u64::MAX);
                    let paid = now.0.saturating_add(wait);
                    next = Next::Wait(Some(until.map_or(paid, |until| until.min(paid))));
                }
            }
            aftermath.take(&mut inner.core);
            if self.meters.is_on() && is_last {
                batch.waits_ns.iter().for_each(|wait| self.meters.waited(*wait));
            }
            next
        };
        // It is about to look for more itself, or will be once its call has ended.
        let own = (next == Next::Call).then_some((stage, consumer));
        self.see_to(aftermath, own);
        next
    }

    /// For a call that was not ready at once.
    async fn wait(self: Arc<Self>, stage: usize, consumer: ConsumerId, calling: WorkerCall) {
        let (batch, worked) = calling.await;
        let ended = self.carry_out(&batch, worked);
        let mut aftermath = Aftermath::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            inner.core.finish(stage, consumer, &batch.deliveries, ended, now);
            aftermath.take(&mut inner.core);
        }
        self.see_to(&mut aftermath, None);
    }

    /// Carries out what a worker asked for.
    fn carry_out(&self, batch: &Batch, worked: Worked) -> CallEnd {
        let Worked { mut end, effects, took } = worked;
        if let CallEnd::Answered(verdicts) = &mut end {
            verdicts.iter_mut().for_each(|(_, verdict)| self.bound(verdict));
        }
        if self.meters.is_on() {
            self.meters.ran(took);
        }
        if effects.is_empty() {
            return end;
        }
        if let Some(surroundings) = self.surroundings.get().and_then(Weak::upgrade) {
            let oldest = batch.rows.iter().map(|[.., stamped_ms]| *stamped_ms).min();
            let oldest = oldest.filter(|_| self.meters.is_on());
            surroundings.apply(effects, oldest.map(|stamped_ms| self.meters.origin(stamped_ms)));
        }
        end
    }

    /// What a transform forwards is bounded like what comes in.
    fn bound(&self, verdict: &mut Verdict) {
        if let Verdict::Forward(payload) = verdict
            && payload.len() > self.buffer.max_event_bytes
        {
            let reason = format!("forwarded {}", self.too_large(payload.len()));
            *verdict = Verdict::Fail { reason };
        }
    }
}
