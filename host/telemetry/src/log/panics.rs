//! Panics go the way of other lines: what is said about them on stderr by default would
//! wait for its reader, and panic once more without one.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;
use std::thread;

use tracing::error;
use tracing::field::display;

/// From now on, panics are logged. `RUST_BACKTRACE` says whether with their backtraces.
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
