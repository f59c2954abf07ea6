//! Calling the workers of pipelines.

use std::pin::pin;
use std::time::Duration;

use super::bindings::exports::millrace::plugin::worker;
use super::budget::{Budget, CallKind, Work};
use super::instance::Instance;
use super::line::Kind;
use super::party::Party;
use super::{Fault, Pool};
use crate::pipeline::Batch;

impl Pool {
    /// Has a batch worked on; what came of it, and how long it took if that is
    /// measured.
    ///
    /// Most calls are ready at the first poll. Dropping the future ends its
    /// instance.
    pub(crate) async fn work(
        &self,
        stage: StageName<'_>,
        batch: &Batch,
        timeout: Duration,
    ) -> (Result<Work, Fault>, Duration) {
        let limit = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let deadline = (limit, "timeout_ms of the pipeline");
        let mut watch = self.watch();
        let stake = self.stake(Party::workers(stage), Kind::Call);
        let call = async {
            let mut taken = self.start(&mut watch, &stake).await?;
            let result = taken.instance.work(stage, batch).await;
            self.ended(taken, &mut watch, &stake.party, result)
        };
        let result = self.within(deadline, &stake, pin!(call)).await;
        (result, watch.took())
    }
}

/// Whose batch it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StageName<'a> {
    pub(crate) pipeline: &'a str,
    pub(crate) stage: u32,
}

impl Instance {
    async fn work(&mut self, stage: StageName<'_>, batch: &Batch) -> Result<Work, Fault> {
        self.refuel(batch.payloads.len() + batch.keys.len())?;
        let Some(guest) = &self.worker else {
            return Err(Fault::bad_return("the plugin does not export `worker`".to_owned()));
        };
        let handed = worker::Batch {
            pipeline: stage.pipeline,
            stage: stage.stage,
            payloads: &batch.payloads,
            keys: &batch.keys,
            events: batch.rows.as_flattened(),
        };
        let answer = guest.call_handle(&mut self.store, handed).await;
        let answer = self.ended(answer)?;
        let mut budget = Budget::new(&self.limits, CallKind::Worker, false);
        budget.work(answer, batch.rows.len(), self.store.data().settings())
    }
}
