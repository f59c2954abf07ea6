//! Panics are logged as other lines are. The standard hook would wait for a slow reader of stderr,
//! and panic once more if stderr is closed.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;
use std::thread;

use tracing::error;
use tracing::field::display;

/// Installs a hook that logs all panics from now on. `RUST_BACKTRACE` says whether their backtraces
/// are logged, too.
pub(super) fn log_them() {
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        let current = thread::current();
        let name = current.name().unwrap_or("<unnamed>");
        let location = panic.location().map(display);
        let message = panic.payload_as_str().unwrap_or("what it said is no text");
        error!(
            at = location,
            details = is_captured.then_some(display(backtrace)),
            "thread '{name}' panicked: {message}"
        );
    }));
}
