//! A task for each consumer: it takes a batch, has its worker called, and tells the core how the
//! call ended.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::sleep_until;

use super::{Pending, Pipeline};
use crate::core::{Batch, CallEnd, Next};
use crate::event::{StageConsumer, Verdict};
use crate::worker::{FinishedJob, Job, StageName, WorkerCall};

impl Pipeline {
    /// Runs one consumer for as long as the server runs.
    pub(super) async fn consume(self: Arc<Self>, consumer: StageConsumer) {
        let Some(handle) = self.handle(consumer) else { return };
        // These four are used for all calls, so that a call allocates nothing here.
        let mut call = WorkerCall::new(std::future::pending());
        let (mut batch, mut ended) = (Batch::default(), None);
        let mut pending = Pending::default();
        loop {
            // A busy pipeline lets other tasks run.
            consume_budget().await;
            match self.step(consumer, ended.take(), &mut batch, &mut pending) {
                Next::Call => {
                    let stage = consumer.stage as u32;
                    let job = Job {
                        stage: StageName { pipeline: Arc::clone(&self.name), stage },
                        batch: std::mem::take(&mut batch),
                        timeout: handle.timeout,
                    };
                    Arc::clone(&handle.worker).start(job, &mut call);
                    match std::future::poll_fn(|cx| Poll::Ready(call.poll(cx))).await {
                        Poll::Ready((worked_on, finished)) => {
                            batch = worked_on;
                            ended = Some(self.apply(&batch, finished));
                        }
                        Poll::Pending => {
                            let empty = WorkerCall::new(std::future::pending());
                            let call = std::mem::replace(&mut call, empty);
                            self.calls.spawn(Arc::clone(&self).wait(consumer, call));
                        }
                    }
                }
                Next::Wait(None) => handle.woken.notified().await,
                Next::Wait(Some(until_ns)) => {
                    let until = self.started + Duration::from_nanos(until_ns);
                    tokio::select! {
                        () = handle.woken.notified() => {}
                        () = sleep_until(until) => {}
                    }
                }
            }
        }
    }

    /// Tells the core how the call with `batch` ended, if there was one, and fills `batch` with
    /// the events of the next call.
    fn step(
        &self,
        consumer: StageConsumer,
        ended: Option<CallEnd>,
        batch: &mut Batch,
        pending: &mut Pending,
    ) -> Next {
        self.with_core(pending, |inner, now, pending| {
            if let Some(ended) = ended {
                inner.core.finish(consumer, &batch.deliveries, ended, now);
            }
            batch.clear();
            let at = self.started.into_std() + Duration::from_nanos(now.0);
            // Only the last stage counts as the start of an event: the rate holds there.
            let is_last = consumer.stage + 1 == self.stages.len();
            let rate = inner.rate.as_mut().filter(|_| is_last);
            let allowed = rate.map_or(usize::MAX, |rate| rate.available(at));
            let mut next = inner.core.take(consumer, allowed, now, batch);
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
            if self.meters.is_on() && is_last {
                batch.waits_ns.iter().for_each(|wait| self.meters.waited(*wait));
            }
            // After its call this consumer looks for events anyway.
            pending.own = (next == Next::Call).then_some(consumer);
            next
        })
    }

    /// Waits for a call that was not ready at its first poll.
    async fn wait(self: Arc<Self>, consumer: StageConsumer, call: WorkerCall) {
        let (batch, finished) = call.await;
        let ended = self.apply(&batch, finished);
        self.with_core(&mut Pending::default(), |inner, now, _| {
            inner.core.finish(consumer, &batch.deliveries, ended, now);
        });
    }

    /// Has the effects of a call applied, and checks its verdicts. Returns how it ended.
    fn apply(&self, batch: &Batch, finished: FinishedJob) -> CallEnd {
        let FinishedJob { mut end, effects, took } = finished;
        if let CallEnd::Answered(verdicts) = &mut end {
            verdicts.iter_mut().for_each(|(_, verdict)| self.check_size(verdict));
        }
        if self.meters.is_on() {
            self.meters.ran(took);
        }
        if effects.is_empty() {
            return end;
        }
        if let Some(sink) = self.sink() {
            let oldest = batch.rows.iter().map(|[.., enqueued_unix_ms]| *enqueued_unix_ms).min();
            let oldest = oldest.filter(|_| self.meters.is_on());
            sink.apply(effects, oldest.map(|unix_ms| self.meters.origin(unix_ms)));
        }
        end
    }

    /// Makes the verdict a failure if it forwards a payload above `buffer.max_event_bytes`.
    fn check_size(&self, verdict: &mut Verdict) {
        if let Verdict::Forward(payload) = verdict
            && payload.len() > self.buffer.max_event_bytes
        {
            let reason = format!("forwarded {}", self.too_large(payload.len()));
            *verdict = Verdict::Fail { reason };
        }
    }
}
