//! The dispatchers of a pipeline's stages: their names, and how one is exchanged while events
//! flow.

use std::sync::{Arc, MutexGuard, PoisonError};

use super::stages::start_dispatcher;
use super::{Pending, Pipeline};
use crate::dispatcher::{DispatchError, Dispatcher, Standby};
use crate::spec::DispatcherSpec;

/// A dispatcher that could not be started, or that a stage cannot have.
#[derive(Debug, thiserror::Error)]
#[error("the dispatcher {name:?} did not start: {why}")]
pub struct PipelineError {
    pub(super) name: String,
    pub(super) why: DispatchError,
}

impl Pipeline {
    /// The names of the dispatchers that run now, by stage. A built-in one or another version
    /// has taken the place of one that broke its contract.
    pub fn dispatchers(&self) -> Vec<String> {
        self.lock().core.dispatchers()
    }

    /// Puts the version `after` of a plugin into each stage whose dispatcher the plugin is.
    /// If it breaks its contract there, `before` takes its place again.
    ///
    /// # Errors
    ///
    /// When `after` does not start: the stages that have not been reached keep their dispatchers.
    pub fn swap_dispatcher(
        &self,
        before: &Arc<dyn Standby>,
        after: &dyn Standby,
    ) -> Result<(), PipelineError> {
        let plugin = after.name();
        let dispatchers = self.dispatcher_specs().clone();
        for (stage, dispatcher) in dispatchers.into_iter().enumerate() {
            let DispatcherSpec::Plugin(own) = dispatcher else { continue };
            if own.name() != plugin {
                continue;
            }
            let failed = |why| PipelineError { name: plugin.to_owned(), why };
            let started = after.start().map_err(failed)?;
            self.replace_dispatcher(stage, started, Some(Arc::clone(before)));
        }
        Ok(())
    }

    /// Makes another dispatcher that of a stage, counted from 0. No event is lost meanwhile.
    ///
    /// # Errors
    ///
    /// When there is no such stage, when the dispatcher does not start, or when one of the two
    /// is `broadcast` and the other is not: that decides how many consumers get an event, which
    /// only `millrace.toml` may. The stage then keeps its dispatcher.
    pub fn switch_dispatcher(
        &self,
        stage: usize,
        dispatcher: DispatcherSpec,
    ) -> Result<(), PipelineError> {
        let copies = |spec: &DispatcherSpec| matches!(spec, DispatcherSpec::Broadcast);
        let consumers = self.stages.get(stage).map_or(0, Vec::len);
        let fails = |problem: &str| PipelineError {
            name: dispatcher.name().to_owned(),
            why: DispatchError::Failed(problem.to_owned()),
        };
        let before = self.dispatcher_specs().get(stage).cloned();
        let before = before.ok_or_else(|| fails("there is no such stage"))?;
        if copies(&before) != copies(&dispatcher) {
            return Err(fails("broadcast can only be chosen in millrace.toml"));
        }
        let started = start_dispatcher(&dispatcher, consumers)?;
        self.replace_dispatcher(stage, started, None);
        if let Some(spec) = self.dispatcher_specs().get_mut(stage) {
            *spec = dispatcher;
        }
        Ok(())
    }

    fn replace_dispatcher(
        &self,
        stage: usize,
        dispatcher: Box<dyn Dispatcher>,
        standby: Option<Arc<dyn Standby>>,
    ) {
        self.with_core(&mut Pending::default(), |inner, now, _| {
            inner.core.replace_dispatcher(stage, dispatcher, standby, now);
        });
    }

    pub(super) fn dispatcher_specs(&self) -> MutexGuard<'_, Vec<DispatcherSpec>> {
        self.dispatchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
