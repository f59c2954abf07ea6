//! The calls of a connection: their start, those in flight, and their results.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use millrace_session::channel::{Callback, ChannelId, Completion, Failure, Progress};
use millrace_session::{Call, CallPurpose};
use millrace_telemetry::{LogLimiter, Metrics, Redacted};
use millrace_wasm::{CallContext, Fault};
use smol_str::SmolStr;
use tracing::field::display;
use tracing::{debug, info};

use super::Channels;
use crate::plugin::{CallOutcome, Handler, PluginVersion};

/// The number of lines about error replies that are logged in a second. It is enough for an
/// author who tries something; clients can cause any number of them.
const ERRORS_PER_SECOND: u32 = 100;

/// The future of a call of a plugin.
type CallFuture = Pin<Box<dyn Future<Output = FinishedCall> + Send>>;

/// A call in flight, which was not ready at its first poll.
pub(in crate::transport) struct PendingCall {
    pub(in crate::transport) channel: ChannelId,
    pub(in crate::transport) future: CallFuture,
}

impl Future for PendingCall {
    type Output = FinishedCall;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FinishedCall> {
        self.future.as_mut().poll(cx)
    }
}

/// A call that ended.
pub(in crate::transport) struct FinishedCall {
    pub(in crate::transport) call: Box<Call<Arc<Handler>>>,
    pub(in crate::transport) result: Result<Completion, Fault>,
    pub(in crate::transport) took: Duration,
    /// The version that the channel stays with, if no other can take its assigns over.
    pub(in crate::transport) pinned: Option<Arc<PluginVersion>>,
}

impl FinishedCall {
    /// A call that ended with this result without a call of the plugin.
    pub(in crate::transport) fn without_plugin(
        call: Box<Call<Arc<Handler>>>,
        result: Result<Completion, Fault>,
    ) -> Self {
        Self { call, result, took: Duration::ZERO, pinned: None }
    }

    /// The event of the message that was handled; `None` if it was no message.
    pub(in crate::transport) fn event(&self) -> Option<&SmolStr> {
        match &self.call.callback {
            Callback::HandleIn { event, .. } => Some(event),
            _ => None,
        }
    }

    /// Whether the call ended without a fault, and without an error reply to its client.
    pub(in crate::transport) fn is_ok(&self) -> bool {
        self.result.as_ref().is_ok_and(|completion| !completion.is_error())
    }

    /// Logs the error reply to the client, if the call made one: at level `info` in
    /// development, else at `debug`. Of more than [`ERRORS_PER_SECOND`], it counts the rest.
    pub(in crate::transport) fn log_error(&self, is_dev: bool) {
        static LINES: LogLimiter = LogLimiter::per_second(ERRORS_PER_SECOND);
        let is_logged = is_dev || tracing::enabled!(tracing::Level::DEBUG);
        let error = self.result.as_ref().ok().filter(|_| is_logged).and_then(Completion::error);
        let Some(error) = error else { return };
        let Some(passed) = LINES.pass() else { return };
        let Call { plugin, ticket, .. } = &*self.call;
        let (plugin, id) = (plugin.name(), display(ticket.caller.message()));
        let (topic, left_out) = (&*ticket.caller.context.topic, passed.left_out());
        let event = self.event().map_or("phx_join", AsRef::<str>::as_ref);
        let reply = display(Redacted(error));
        match is_dev {
            true => info!(plugin, id, topic, event, reply, left_out, "answered with an error"),
            false => debug!(plugin, id, topic, event, reply, left_out, "answered with an error"),
        }
    }

    /// Adds the call's duration and result to the metrics.
    pub(in crate::transport) fn measure(&self, metrics: &Metrics) {
        if !metrics.is_on() {
            return;
        }
        let Call { plugin, ticket, .. } = &*self.call;
        let meters = &plugin.meters;
        match (ticket.purpose, self.event(), &self.result) {
            (CallPurpose::Message, Some(event), result) => {
                // Only events that the plugin knows are metrics of their own. It knows one
                // that it traps on; one that it does not know it answers with an error.
                let is_known = match result {
                    Ok(completion) => !completion.is_error(),
                    Err(fault) => fault.is_plugins(),
                };
                meters.handled(event, self.took, is_known);
                metrics.topics().received(&ticket.caller.context.topic);
            }
            (CallPurpose::Join, _, result) => meters.joined(join_result(result), self.took),
            (CallPurpose::Message | CallPurpose::Notice | CallPurpose::Terminate, _, _) => {}
        }
    }
}

impl Channels {
    /// Begins a call: the server answers it itself, or it waits for a round (a message), or
    /// the plugin is called at once.
    pub(in crate::transport) fn begin(
        &mut self,
        call: Box<Call<Arc<Handler>>>,
        cx: &mut Context<'_>,
    ) {
        match call.plugin.answer(&call.callback) {
            Some(completion) => self.ended(FinishedCall::without_plugin(call, Ok(completion))),
            None if matches!(call.callback, Callback::HandleIn { .. }) => self.batcher.add(call),
            None => self.call(call, cx),
        }
    }

    /// Calls a plugin for this call alone, outside of rounds.
    pub(in crate::transport) fn call(
        &mut self,
        call: Box<Call<Arc<Handler>>>,
        cx: &mut Context<'_>,
    ) {
        let channel = call.ticket.caller.context.channel;
        let mut future = self.start(call);
        match future.as_mut().poll(cx) {
            Poll::Ready(called) => self.ended(called),
            Poll::Pending => self.calls.push(PendingCall { channel, future }),
        }
    }

    /// Drops the calls in flight of a channel. Each of them costs an instance, which is counted
    /// against the client as a fault.
    pub(in crate::transport) fn end_calls(&mut self, channel: ChannelId) {
        let ended = self.calls.drop_of(channel);
        self.quota.cut_off(ended);
    }

    /// The future of a call. It is ready at once if the connection may not call plugins now.
    fn start(&self, mut call: Box<Call<Arc<Handler>>>) -> CallFuture {
        let progress = Arc::clone(&self.quota) as Arc<dyn Progress>;
        let assigns = call.assigns.take().unwrap_or_default();
        let ticket = &call.ticket;
        let admitted = self.quota.admit();
        let pinned = self.pinned.get(&ticket.caller.context.channel).map(Arc::clone);
        Box::pin(async move {
            let plugin = match (admitted, call.plugin.plugin()) {
                (Ok(()), Some(plugin)) => plugin,
                (Err(retry_after), _) => {
                    return FinishedCall::without_plugin(call, Err(Fault::held(retry_after)));
                }
                // Not reached: the server answers these calls itself.
                (Ok(()), None) => return FinishedCall::without_plugin(call, Err(Fault::lost())),
            };
            let context = CallContext { caller: call.ticket.caller.clone(), progress };
            let answered = plugin.call(pinned, &context, &assigns, &call.callback).await;
            let CallOutcome { result, took, pinned } = answered;
            FinishedCall { call, result, took, pinned }
        })
    }
}

/// The result of a join as a word for metrics.
fn join_result(result: &Result<Completion, Fault>) -> &'static str {
    match result {
        Ok(Completion::Join(answer)) if answer.is_ok() => "ok",
        Ok(Completion::Join(_)) => "refused",
        Ok(Completion::Handled(_)) => "crashed",
        Err(fault) => match fault.failure() {
            Failure::Crashed => "crashed",
            Failure::TimedOut => "timeout",
            Failure::Overloaded { .. } => "overloaded",
            Failure::Unavailable { .. } => "unavailable",
        },
    }
}
