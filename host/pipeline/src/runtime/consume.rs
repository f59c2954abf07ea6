//! A task for each consumer: what it works on, and what came of that.

use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::sleep_until;

use super::{Pending, Pipeline};
use crate::core::{Batch, CallEnd, Next};
use crate::event::{ConsumerId, Verdict};
use crate::worker::{FinishedJob, Job, StageName, WorkerCall};

impl Pipeline {
    /// One consumer, for as long as the server runs.
    pub(super) async fn consume(self: Arc<Self>, stage: usize, consumer: ConsumerId) {
        let Some(handle) = self.handle(stage, consumer) else { return };
        let mut call = WorkerCall::new(std::future::pending());
        let (mut batch, mut ended) = (Batch::default(), None);
        let mut pending = Pending::default();
        loop {
            // A busy pipeline lets others run.
            consume_budget().await;
            match self.step(stage, consumer, ended.take(), &mut batch, &mut pending) {
                Next::Call => {
                    let job = Job {
                        stage: StageName { pipeline: Arc::clone(&self.name), stage: stage as u32 },
                        batch: std::mem::take(&mut batch),
                        timeout: handle.timeout,
                    };
                    Arc::clone(&handle.worker).start(job, &mut call);
                    match std::future::poll_fn(|cx| Poll::Ready(call.poll(cx))).await {
                        Poll::Ready((worked_on, worked)) => {
                            batch = worked_on;
                            ended = Some(self.carry_out(&batch, worked));
                        }
                        Poll::Pending => {
                            let empty = WorkerCall::new(std::future::pending());
                            let call = std::mem::replace(&mut call, empty);
                            self.calls.spawn(Arc::clone(&self).wait(stage, consumer, call));
                        }
                    }
                }
                Next::Wait(None) => handle.woken.notified().await,
                Next::Wait(Some(until)) => {
                    let until = self.started + Duration::from_nanos(until);
                    tokio::select! {
                        () = handle.woken.notified() => {}
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
        pending: &mut Pending,
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
            pending.take(&mut inner.core);
            if self.meters.is_on() && is_last {
                batch.waits_ns.iter().for_each(|wait| self.meters.waited(*wait));
            }
            next
        };
        // It is about to look for more itself, or will be once its call has ended.
        let own = (next == Next::Call).then_some((stage, consumer));
        self.deliver(pending, own);
        next
    }

    /// For a call that was not ready at once.
    async fn wait(self: Arc<Self>, stage: usize, consumer: ConsumerId, call: WorkerCall) {
        let (batch, worked) = call.await;
        let ended = self.carry_out(&batch, worked);
        let mut pending = Pending::default();
        {
            let mut inner = self.lock();
            let now = self.now();
            inner.core.finish(stage, consumer, &batch.deliveries, ended, now);
            pending.take(&mut inner.core);
        }
        self.deliver(&mut pending, None);
    }

    /// Carries out what a worker asked for.
    fn carry_out(&self, batch: &Batch, worked: FinishedJob) -> CallEnd {
        let FinishedJob { mut end, effects, took } = worked;
        if let CallEnd::Answered(verdicts) = &mut end {
            verdicts.iter_mut().for_each(|(_, verdict)| self.bound(verdict));
        }
        if self.meters.is_on() {
            self.meters.ran(took);
        }
        if effects.is_empty() {
            return end;
        }
        if let Some(sink) = self.sink.get().and_then(Weak::upgrade) {
            let oldest = batch.rows.iter().map(|[.., enqueued_unix_ms]| *enqueued_unix_ms).min();
            let oldest = oldest.filter(|_| self.meters.is_on());
            sink.apply(
                effects,
                oldest.map(|enqueued_unix_ms| self.meters.origin(enqueued_unix_ms)),
            );
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
