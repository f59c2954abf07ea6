//! The monotonic clock of plugins: one for all instances of the process, so that the times that two
//! instances have read can be compared.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::time::Instant;
use wasmtime_wasi::HostMonotonicClock;

/// The time since the process started, as `clock.monotonic-ns` and WASI have it.
pub(super) struct Uptime;

/// The time that it shows at the start: clocks of tests may have been stopped some time before.
const AT_START: Duration = Duration::from_secs(3600);

impl Uptime {
    /// The time since the start, with [`AT_START`] added.
    fn elapsed() -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let now = Instant::now();
        let before = START.saturating_duration_since(now);
        (AT_START + now.saturating_duration_since(*START)).saturating_sub(before)
    }

    /// The time of this clock in nanoseconds.
    pub(super) fn nanos() -> u64 {
        u64::try_from(Self::elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl HostMonotonicClock for Uptime {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        Self::nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_one_clock_for_all_and_goes_with_that_of_tests() {
        let (first, second) = (Uptime.now(), Uptime::nanos());
        assert!(first >= 1 && second >= first, "{first} {second}");
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(Uptime.now() - second >= 5_000_000_000);
    }
}
