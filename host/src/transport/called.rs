//! A call of a connection's plugin that is under way, and what came of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use smol_str::SmolStr;

use crate::channel::{Callback, ChannelId, Completion, Failure};
use crate::plugin::Handler;
use crate::session::{Call, Turn};
use crate::telemetry::Metrics;
use crate::wasm::{Fault, Pool};

pub(super) type StartedCall = Pin<Box<dyn Future<Output = Called> + Send>>;

/// A call that was not ready at once.
pub(super) struct PendingCall {
    pub(super) channel: ChannelId,
    pub(super) future: StartedCall,
}

impl Future for PendingCall {
    type Output = Called;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Called> {
        self.future.as_mut().poll(cx)
    }
}

/// A call that ended.
pub(super) struct Called {
    pub(super) call: Box<Call<Arc<Handler>>>,
    pub(super) result: Result<Completion, Fault>,
    pub(super) took: Duration,
    /// The version the channel stays with, if it does.
    pub(super) kept: Option<Arc<Pool>>,
}

impl Called {
    /// What came to this without a plugin.
    pub(super) fn at_once(
        call: Box<Call<Arc<Handler>>>,
        result: Result<Completion, Fault>,
    ) -> Self {
        Self { call, result, took: Duration::ZERO, kept: None }
    }

    /// What was handled, if it was a message.
    pub(super) fn event(&self) -> Option<&SmolStr> {
        match &self.call.callback {
            Callback::HandleIn { event, .. } => Some(event),
            _ => None,
        }
    }

    /// Says how long it took.
    pub(super) fn measure(&self, metrics: &Metrics) {
        if !metrics.is_on() {
            return;
        }
        let Call { plugin, ticket, .. } = &*self.call;
        let meters = &plugin.meters;
        match (ticket.turn, self.event(), &self.result) {
            (Turn::Message, Some(event), _) => {
                meters.handled(event, self.took);
                metrics.topics().received(&ticket.caller.context.topic);
            }
            (Turn::Join, _, result) => meters.joined(join_result(result), self.took),
            (Turn::Message | Turn::Notice | Turn::Terminate, _, _) => {}
        }
    }
}

/// One word for metrics.
fn join_result(result: &Result<Completion, Fault>) -> &'static str {
    match result {
        Ok(Completion::Join(answer)) if answer.is_ok() => "ok",
        Ok(Completion::Join(_)) => "refused",
        Ok(Completion::Handled(_)) => "crashed",
        Err(fault) => match fault.failure() {
            Failure::Crashed => "crashed",
            Failure::TimedOut => "timeout",
            Failure::Unavailable { .. } => "unavailable",
        },
    }
}
