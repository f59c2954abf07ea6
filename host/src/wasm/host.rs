//! What a plugin may call: log, metrics, config, clock, random, http, grants, its
//! own call, and WASI with nothing granted.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use tracing::field::display;
use tracing::{debug, error, info, trace, warn};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::batch::{self, Ledger};
use super::bindings::millrace::plugin::{
    call, clock, config, grants, http, log, metrics, random, types,
};
use super::budget::Budget;
use super::limits::{MemoryLimiter, PluginLimits};
use super::output::OutputTail;
use super::room::Room;
use crate::channel::{Caller, Progress, SocketRef};
use crate::egress::{self, EgressError};
use crate::plugin::{Need, Settings};
use crate::telemetry::{CallMeasurements, Measurement, Metric};

/// What belongs to one instance on the host's side.
pub(super) struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) output: OutputTail,
    pub(super) limiter: MemoryLimiter,
    settings: Arc<Settings>,
    /// The call that runs, if it is a channel's or a task's; of a batch, the message
    /// that is handled.
    pub(super) current: Option<Current>,
    /// The batch that is handled, if it is one.
    pub(super) batch: Option<Arc<Ledger>>,
    /// What the call that runs, or the last one, was given.
    pub(super) fuel: u64,
    started: Instant,
    lines: usize,
    lines_dropped: usize,
    /// What the call measures.
    measured: CallMeasurements,
}

/// The call an instance serves.
pub(super) struct Current {
    pub(super) caller: Caller,
    pub(super) progress: Arc<dyn Progress>,
    /// What is left of the limits on its effects.
    pub(super) budget: Budget,
}

/// Log lines of one call.
const MAX_LINES: usize = 64;
/// A log line is cut after so many bytes.
const MAX_LINE_BYTES: usize = 8 * 1024;
/// Random bytes in one call of `random.bytes`.
const MAX_RANDOM_BYTES: u32 = 4096;

impl State {
    pub(super) fn new(
        settings: Arc<Settings>,
        limits: &PluginLimits,
        room: Option<Arc<Room>>,
    ) -> Self {
        let output = OutputTail::default();
        let wasi = WasiCtxBuilder::new().stdout(output.clone()).stderr(output.clone()).build();
        Self {
            wasi,
            table: ResourceTable::new(),
            output,
            limiter: MemoryLimiter::new(limits.max_memory_bytes, room),
            measured: CallMeasurements::new(Arc::clone(&settings.meters), limits.max_metrics),
            settings,
            current: None,
            batch: None,
            fuel: 0,
            started: Instant::now(),
            lines: 0,
            lines_dropped: 0,
        }
    }

    /// What its plugin knows of its surroundings.
    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.settings
    }

    /// Ends the bookkeeping of one call.
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

/// Makes everything a plugin may import known to `linker`.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    // The async half: the sync one would start a runtime of its own inside ours.
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    metrics::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    config::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    random::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    http::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    grants::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    batch::add_to_linker(linker)?;
    call::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// The longest prefix of `text` of at most `max` bytes.
fn cut(text: &str, max: usize) -> &str {
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

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) {
        if self.lines >= MAX_LINES {
            self.lines_dropped += 1;
            return;
        }
        self.lines += 1;
        if self.current.is_none() && !self.settings.takes_own_line() {
            return;
        }
        let plugin = self.settings.name.as_str();
        let text = cut(&message, MAX_LINE_BYTES);
        let id = self.current.as_ref().map(|current| display(current.caller.message()));
        match level {
            log::Level::Trace => trace!(plugin, id, "{text}"),
            log::Level::Debug => debug!(plugin, id, "{text}"),
            log::Level::Info => info!(plugin, id, "{text}"),
            log::Level::Warn => warn!(plugin, id, "{text}"),
            log::Level::Error => error!(plugin, id, "{text}"),
        }
    }
}

impl metrics::Host for State {
    fn count(&mut self, name: String, delta: i64) {
        self.measured.take(&name, Measurement::Count(delta));
    }

    fn gauge(&mut self, name: String, value: f64) {
        self.measured.take(&name, Measurement::Gauge(value));
    }

    fn timing(&mut self, name: String, ms: f64) {
        self.measured.take(&name, Measurement::TimingMs(ms));
    }

    fn histogram(&mut self, name: String, value: f64) {
        self.measured.take(&name, Measurement::Histogram(value));
    }

    fn set(&mut self, name: String, value: String) {
        self.measured.take_set(&name, &value);
    }
}

impl config::Host for State {
    fn get(&mut self, key: String) -> Option<String> {
        self.settings.config.get(&key).cloned()
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic_ns(&mut self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    async fn sleep_ms(&mut self, ms: u64) {
        // A timer of nothing would suspend the call until the timers' next turn.
        if ms > 0 {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }
}

impl random::Host for State {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        let mut bytes = vec![0; len.min(MAX_RANDOM_BYTES) as usize];
        // Without random bytes a token would be guessable: better no call.
        getrandom::fill(&mut bytes)
            .map_err(|error| wasmtime::format_err!("no random bytes: {error}"))?;
        Ok(bytes)
    }
}

impl http::Host for State {
    async fn send(&mut self, request: http::Request) -> Result<http::Response, http::Error> {
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

impl grants::Host for State {
    fn are_limited(&mut self) -> bool {
        self.settings.is_limited
    }

    fn check(&mut self, need: grants::Need) -> Result<(), String> {
        self.settings.check(&need.into()).map_err(|denied| denied.to_string())
    }
}

impl From<grants::Need> for Need {
    fn from(need: grants::Need) -> Self {
        match need {
            grants::Need::Publish(topic) => Self::Publish(topic),
            grants::Need::Enqueue(pipeline) => Self::Enqueue(pipeline),
        }
    }
}

impl call::Host for State {
    fn socket_ref(&mut self) -> Option<String> {
        let Current { caller, progress, .. } = self.current.as_ref()?;
        let reply_to = caller.reply_to.as_ref()?;
        SocketRef::new(progress.server(), &caller.context, reply_to).map(|s| s.to_string())
    }

    async fn flush(&mut self, effects: Vec<types::Effect>) -> wasmtime::Result<()> {
        let Some(current) = &mut self.current else {
            return Err(wasmtime::format_err!("`flush` needs a call of a channel or a task"));
        };
        // The trap it causes carries the fault to the call's end.
        let effects = current.budget.flushed(effects)?;
        Arc::clone(&current.progress).flush(current.caller.clone(), effects).await;
        Ok(())
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
