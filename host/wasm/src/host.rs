//! The host's side of an instance: the state that its imports work on, and WASI with nothing
//! granted.

use std::sync::Arc;
use std::time::Duration;

use millrace_session::channel::{Caller, Effect, MessageId, Progress};
use millrace_telemetry::{CallMeasurements, Metric};
use tracing::field::display;
use tracing::{Level, Span, debug, debug_span, enabled, error, info, trace, warn};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::batched;
use super::bindings::millrace::plugin::{http, log, types};
use super::budget::Budget;
use super::fuel::Slice;
use super::imports;
use super::instance_limit::InstanceLimit;
use super::ledger::Ledger;
use super::limits::{MemoryLimiter, PluginLimits};
use super::output::{OutputTail, Written};
use super::uptime::Uptime;
use super::withheld::{self, About};
use crate::Settings;
use crate::egress::{self, EgressError};

/// The host's side of one instance: the data of its store.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) output: OutputTail,
    pub(super) limiter: MemoryLimiter,
    settings: Arc<Settings>,
    /// The call that runs, if it is of a channel or a task; in a batch, that of the current
    /// message.
    pub(super) current: Option<Current>,
    /// The batch that is being handled, if the call is one.
    pub(super) batch: Option<Arc<Ledger>>,
    /// The fuel that the current or last call began with.
    pub(super) fuel: u64,
    /// The slice of that fuel that the call is in.
    pub(super) slice: Slice,
    /// The number of lines that the current call has logged.
    lines: usize,
    /// The number of its lines that were left out.
    lines_dropped: usize,
    /// The measurements of the current call.
    pub(super) measured: CallMeasurements,
}

/// The call an instance serves.
pub(super) struct Current {
    pub(super) caller: Caller,
    pub(super) progress: Arc<dyn Progress>,
    /// The limits of its effects, and what is left of them.
    pub(super) budget: Budget,
}

/// The log target for what plugins print: `RUST_LOG=info,millrace::prints=debug` shows it.
const PRINTS: &str = "millrace::prints";

/// The number of log lines of one call; more are counted and left out.
const MAX_LINES: usize = 64;
/// The number of bytes after which a log line is cut.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// The number of random bytes that one call of WASI may ask for, as the host makes them.
const MAX_WASI_RANDOM_BYTES: u64 = 4096;

impl State {
    pub(super) fn new(
        settings: Arc<Settings>,
        limits: &PluginLimits,
        instance_limit: Option<Arc<InstanceLimit>>,
    ) -> Self {
        let output = OutputTail::default();
        let mut wasi = WasiCtxBuilder::new();
        wasi.stdout(output.clone()).stderr(output.clone()).monotonic_clock(Uptime);
        let wasi = wasi.max_random_size(MAX_WASI_RANDOM_BYTES).build();
        Self {
            wasi,
            table: ResourceTable::new(),
            output,
            limiter: MemoryLimiter::new(limits.max_memory_bytes, instance_limit),
            measured: CallMeasurements::new(Arc::clone(&settings.meters), limits.max_metrics),
            settings,
            current: None,
            batch: None,
            fuel: 0,
            slice: Slice::default(),
            lines: 0,
            lines_dropped: 0,
        }
    }

    /// The settings of its plugin.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Logs what the plugin has printed since the last time, in a call for the message `id`, if it
    /// was for one.
    pub(super) fn log_prints(&mut self, id: Option<MessageId>) {
        if let Some(written) = self.output.take() {
            self.tell(&written, id);
        }
    }

    /// Logs what the plugin has printed, for the message of the current call.
    pub(super) fn log_own_prints(&mut self) {
        if let Some(written) = self.output.take() {
            let current = self.current.take();
            self.tell(&written, current.as_ref().map(|current| current.caller.message()));
            self.current = current;
        }
    }

    /// Logs printed text, line by line.
    pub(super) fn tell(&mut self, written: &Written, id: Option<MessageId>) {
        if !tracing::enabled!(target: PRINTS, tracing::Level::DEBUG) {
            return;
        }
        let settings = Arc::clone(&self.settings);
        let (plugin, id) = (settings.name.as_str(), id.map(display));
        if written.lost > 0 {
            debug!(target: PRINTS, plugin, id, lost_bytes = written.lost,
                "it printed more in one call than is kept; the end:");
        }
        for line in written.text.lines().filter(|line| !line.is_empty()) {
            if self.has_line() && (id.is_some() || settings.takes_own_line()) {
                debug!(target: PRINTS, plugin, id, "{}", cut(line, MAX_LINE_BYTES));
            }
        }
    }

    /// Ends the bookkeeping of one call: lines and measurements are counted anew.
    pub(super) fn call_ended(&mut self) {
        if self.lines_dropped > 0 {
            warn!(plugin = %self.settings.name, dropped = self.lines_dropped,
                "the plugin logged more than {MAX_LINES} lines in one call");
        }
        self.measured.flush();
        self.lines = 0;
        self.lines_dropped = 0;
    }
}

impl Drop for State {
    /// Logs what it has printed, which may say why its call was cut off.
    fn drop(&mut self) {
        self.log_own_prints();
    }
}

/// Adds everything that a plugin may import to `linker`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    // The async half: the sync one would start a runtime of its own inside ours.
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    imports::add_to_linker(linker)?;
    batched::add_to_linker(linker)
}

/// The longest prefix of `text` of at most `max` bytes.
pub(super) fn cut(text: &str, max: usize) -> &str {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or(text)
}

// === impl State: the imports ===

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl types::Host for State {}

impl State {
    /// Whether the call may log one more line, which is counted.
    pub(super) fn takes_line(&mut self) -> bool {
        self.has_line() && (self.current.is_some() || self.settings.takes_own_line())
    }

    /// Counts one more line; false if the call has logged [`MAX_LINES`].
    fn has_line(&mut self) -> bool {
        if self.lines >= MAX_LINES {
            self.lines_dropped += 1;
            return false;
        }
        self.lines += 1;
        true
    }

    /// The span of the call that runs, whichever way its message came: lines of one
    /// message can be asked for (`RUST_LOG=[call{id=1-2}]=debug`).
    fn span(&self) -> Span {
        let Some(Current { caller, .. }) = &self.current else { return Span::none() };
        debug_span!("call", id = %caller.message(), topic = &*caller.context.topic)
    }

    /// Logs a line of the plugin, cut after [`MAX_LINE_BYTES`].
    pub(super) fn log(&self, level: log::Level, message: &str) {
        let span = self.span();
        let _in_call = span.enter();
        let plugin = self.settings.name.as_str();
        let text = cut(message, MAX_LINE_BYTES);
        let is_written = match level {
            log::Level::Trace => enabled!(Level::TRACE),
            log::Level::Debug => enabled!(Level::DEBUG),
            log::Level::Info => enabled!(Level::INFO),
            log::Level::Warn => enabled!(Level::WARN),
            log::Level::Error => enabled!(Level::ERROR),
        };
        if !is_written || !self.settings.takes_line(text.len()) {
            return;
        }
        let id = self.current.as_ref().map(|current| display(current.caller.message()));
        match level {
            log::Level::Trace => trace!(plugin, id, "{text}"),
            log::Level::Debug => debug!(plugin, id, "{text}"),
            log::Level::Info => info!(plugin, id, "{text}"),
            log::Level::Warn => warn!(plugin, id, "{text}"),
            log::Level::Error => error!(plugin, id, "{text}"),
        }
    }

    /// Checks effects of a call that goes on; returns them with whom they are for, and their bytes.
    pub(super) fn flushed(
        &mut self,
        effects: Vec<types::Effect>,
    ) -> wasmtime::Result<(FlushedEffects, usize)> {
        let Some(current) = &mut self.current else {
            return Err(wasmtime::format_err!("`flush` needs a call of a channel or a task"));
        };
        let before = current.budget.spent_bytes();
        // The error becomes a trap, which carries the fault to the end of the call.
        let effects = current.budget.flushed(effects, &self.settings)?;
        let withheld = current.budget.take_withheld();
        withheld::tell(&withheld, &self.settings, About::Message(&current.caller));
        if let Some(batch) = &self.batch {
            batch.flushed();
        }
        let bytes = current.budget.spent_bytes() - before;
        let (progress, caller) = (Arc::clone(&current.progress), current.caller.clone());
        Ok((FlushedEffects { progress, caller, effects }, bytes))
    }

    /// Sends an HTTP request, and waits for the whole response.
    pub(super) async fn send(
        &mut self,
        request: http::Request,
    ) -> Result<http::Response, http::Error> {
        let http::Request { method, url, headers, body, timeout_ms } = request;
        let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
        let Settings { name, egress, metrics, .. } = &*self.settings;
        let request = egress::Request { method, url, headers, body, timeout };
        metrics.count_of(Metric::HttpRequests, &[name], 1);
        match egress.send(request).await {
            Ok(egress::Response { status, headers, body }) => {
                Ok(http::Response { status, headers, body: body.into() })
            }
            Err(error) => {
                let reason = error.as_str();
                let error = match error {
                    EgressError::Denied(text) => http::Error::Denied(text),
                    EgressError::Invalid(text) => http::Error::Invalid(text),
                    EgressError::Unreachable(text) => http::Error::Unreachable(text),
                    EgressError::Timeout => http::Error::Timeout,
                    EgressError::TooLarge => {
                        http::Error::TooLarge(egress.max_response_bytes() as u64)
                    }
                    EgressError::Overloaded => http::Error::Overloaded,
                };
                metrics.count_of(Metric::HttpFailed, &[name, reason], 1);
                Err(error)
            }
        }
    }
}

/// Checked effects that are applied while their call goes on.
pub(super) struct FlushedEffects {
    progress: Arc<dyn Progress>,
    caller: Caller,
    effects: Vec<Effect>,
}

impl FlushedEffects {
    /// Applies them, and waits for that.
    pub(super) async fn apply(self) {
        self.progress.flush(self.caller, self.effects).await;
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 5), "abc");
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("aé", 2), "a");
    }
}
