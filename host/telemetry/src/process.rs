//! What the system knows about this process: processor time and memory.

use std::fs;
use std::time::{Duration, Instant};

use rustix::param::page_size;

/// The processor time of this process at one point in time.
#[derive(Debug)]
pub(super) struct Process {
    at: Instant,
    cpu: Duration,
}

impl Process {
    pub(super) fn new() -> Self {
        Self { at: Instant::now(), cpu: cpu_time() }
    }

    /// The processor time since the last call, in percent of one core.
    pub(super) fn cpu_percent(&mut self) -> f64 {
        let now = Self::new();
        let before = std::mem::replace(self, now);
        let (used, passed) = (self.cpu.saturating_sub(before.cpu), self.at - before.at);
        100.0 * used.as_secs_f64() / passed.as_secs_f64().max(1e-9)
    }
}

/// The resident memory (RSS) in bytes; 0 on systems without `/proc`.
pub fn memory_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * page_size() as u64
}

/// The user and system time of all threads.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanos.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_uses_time() {
        assert!(memory_bytes() > 1 << 20);
        let mut process = Process::new();
        let mut sum = 0_u64;
        while cpu_time() < process.cpu + Duration::from_millis(20) {
            sum = sum.wrapping_add(1);
        }
        assert!(process.cpu_percent() > 0.0, "{sum}");
    }
}
