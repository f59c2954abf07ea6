//! Calling the workers of pipelines.

use std::pin::pin;
use std::time::Duration;

use millrace_pipeline::{Batch, StageName, Verdict, Work};
use millrace_session::channel::Effect;

use super::bindings::exports::millrace::plugin::worker;
use super::bindings::millrace::plugin::types;
use super::budget::{Budget, CallKind};
use super::convert::name;
use super::fair_queue::WorkKind;
use super::instance::Instance;
use super::owner::CallOwner;
use super::withheld::{About, tell};
use super::{Fault, Pool};
use crate::Settings;

impl Pool {
    /// Calls the worker with a batch of events. Returns the worker's answer, and how long the call
    /// took (zero if calls are not measured).
    ///
    /// Most calls are ready at the first poll. Dropping the future ends its instance.
    pub async fn work(
        &self,
        stage: &StageName,
        batch: &Batch,
        timeout: Duration,
    ) -> (Result<Work, Fault>, Duration) {
        let limit = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let deadline = (limit, "timeout_ms of the pipeline");
        let mut timer = self.timer();
        let claim = self.claim(CallOwner::workers(stage), WorkKind::Call);
        let call = async {
            let mut pooled = self.start(&mut timer, &claim).await?;
            let result = pooled.instance.work(stage, batch).await;
            self.ended(pooled, &mut timer, &claim.owner, result)
        };
        let result = self.within(deadline, &claim, pin!(call)).await;
        (result, timer.took())
    }
}

impl Instance {
    async fn work(&mut self, stage: &StageName, batch: &Batch) -> Result<Work, Fault> {
        self.refuel(batch.payloads.len() + batch.keys.len())?;
        let Some(guest) = &self.worker else {
            return Err(Fault::bad_return("the plugin does not export `worker`".to_owned()));
        };
        let handed = worker::Batch {
            pipeline: &stage.pipeline,
            stage: stage.stage,
            payloads: &batch.payloads,
            keys: &batch.keys,
            events: batch.rows.as_flattened(),
        };
        let answer = guest.call_handle(&mut self.store, handed).await;
        let answer = self.ended(answer)?;
        let mut budget = Budget::new(&self.limits, CallKind::Worker, false);
        let settings = self.store.data().settings();
        let work = budget.work(answer, batch.rows.len(), settings)?;
        tell(&budget.take_withheld(), settings, About::Pipeline(&stage.pipeline));
        Ok(work)
    }
}

impl Budget {
    /// Checks the answer of a worker that was handed `events` events. Each verdict has to be for
    /// one of them, and no two for the same one.
    pub(super) fn work(
        &mut self,
        answer: worker::Answer,
        events: usize,
        settings: &Settings,
    ) -> Result<Work, Fault> {
        let effects =
            self.effects(answer.effects, settings)?.into_iter().map(|effect| match effect {
                Effect::Server(effect) => Ok(effect),
                Effect::Channel(_) => Err(Fault::bad_return("a worker has no channel".to_owned())),
            });
        let effects = effects.collect::<Result<_, _>>()?;
        let mut named = vec![false; if answer.verdicts.is_empty() { 0 } else { events }];
        let mut verdicts = Vec::with_capacity(answer.verdicts.len());
        for worker::Judged { index, verdict } in answer.verdicts {
            match named.get_mut(index as usize) {
                Some(named) if !*named => *named = true,
                Some(_) => {
                    let problem = format!("the worker gave two verdicts on event {index}");
                    return Err(Fault::bad_return(problem));
                }
                None => {
                    return Err(Fault::bad_return(format!(
                        "the worker gave a verdict on event {index}, there are {events}, counted \
                         from 0"
                    )));
                }
            }
            verdicts.push((index, self.verdict(verdict)?));
        }
        Ok(Work { verdicts, effects })
    }

    fn verdict(&mut self, verdict: worker::Verdict) -> Result<Verdict, Fault> {
        Ok(match verdict {
            worker::Verdict::Reply(types::Reply { status, payload }) => {
                name("the status of a reply", &status)?;
                Verdict::Reply { status, payload: self.payload(payload)? }
            }
            worker::Verdict::Forward(payload) => {
                self.spend(payload.len())?;
                Verdict::Forward(payload.into())
            }
            worker::Verdict::Retry(worker::Retry { after_ms, reason }) => {
                Verdict::Retry { after_ms, reason: self.reason(reason)? }
            }
            worker::Verdict::Drop(reason) => Verdict::Drop { reason: self.reason(reason)? },
            worker::Verdict::Fail(reason) => Verdict::Fail { reason: self.reason(reason)? },
        })
    }

    fn reason(&mut self, reason: String) -> Result<String, Fault> {
        self.spend(reason.len())?;
        Ok(reason)
    }
}
