//! The server's functions that a plugin may call while it runs.

/// Lines in the server's log.
pub mod log {
    use crate::bindings::millrace::plugin::log::{Level, log};

    /// Logs a detail, for following one message.
    pub fn debug(message: &str) {
        log(Level::Debug, message);
    }

    /// Logs something that an operator may want to know.
    pub fn info(message: &str) {
        log(Level::Info, message);
    }

    /// Logs something that an operator has to look into.
    pub fn warn(message: &str) {
        log(Level::Warn, message);
    }

    /// Logs something that an operator has to act on.
    pub fn error(message: &str) {
        log(Level::Error, message);
    }
}

/// Measurements, which are sent to StatsD under the plugin's name.
pub mod metrics {
    pub use crate::bindings::millrace::plugin::metrics::{count, gauge, histogram, set, timing};

    /// Runs `work` and records its duration in milliseconds.
    pub fn measure<T>(name: &str, work: impl FnOnce() -> T) -> T {
        let start = super::clock::monotonic_ns();
        let result = work();
        #[expect(clippy::cast_precision_loss, reason = "a duration needs no 53 bits")]
        let ms = super::clock::monotonic_ns().saturating_sub(start) as f64 / 1e6;
        timing(name, ms);
        result
    }
}

/// The table `[plugins.NAME] config` of `millrace.toml`.
pub mod config {
    pub use crate::bindings::millrace::plugin::config::get;
}

/// Clocks, and sleeping.
pub mod clock {
    use std::time::Duration;

    pub use crate::bindings::millrace::plugin::clock::{monotonic_ns, now_ms};

    /// Waits without holding a thread of the server. Messages for other channels are handled
    /// meanwhile; those for this channel wait. The time is rounded up to whole milliseconds; zero
    /// returns at once.
    pub fn sleep(duration: Duration) {
        crate::bindings::millrace::plugin::clock::sleep_ms(whole_ms(duration));
    }

    /// The duration in milliseconds, rounded up: a wait must not be shorter than asked.
    pub(crate) fn whole_ms(duration: Duration) -> u64 {
        u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn part_of_a_millisecond_is_a_whole_one() {
            assert_eq!(whole_ms(Duration::ZERO), 0);
            assert_eq!(whole_ms(Duration::from_nanos(1)), 1);
            assert_eq!(whole_ms(Duration::from_millis(7)), 7);
            assert_eq!(whole_ms(Duration::from_micros(7_001)), 8);
            assert_eq!(whole_ms(Duration::MAX), u64::MAX);
        }
    }
}

/// Random bytes, good enough for tokens and keys.
pub mod random {
    pub use crate::bindings::millrace::plugin::random::bytes;
}
