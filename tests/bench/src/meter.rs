//! The CPU time that the server and the load generator use in a period.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::procfs;

/// A period that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Meter {
    pid: u32,
    start: Instant,
    server: Duration,
    client: Duration,
}

/// The CPU times of a period.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// The length of the period.
    pub time: Duration,
    /// The server's CPU time.
    pub server: Duration,
    /// The load generator's CPU time.
    pub client: Duration,
}

impl Meter {
    /// Begins a period, for the server with this process id.
    pub fn start(pid: u32) -> Result<Self> {
        let (server, client) = read(pid)?;
        Ok(Self { pid, start: Instant::now(), server, client })
    }

    /// Ends the period.
    pub fn stop(self) -> Result<Spent> {
        let (server, client) = read(self.pid)?;
        let time = self.start.elapsed();
        Ok(Spent { time, server: server - self.server, client: client - self.client })
    }
}

fn read(pid: u32) -> Result<(Duration, Duration)> {
    let server = procfs::cpu(pid).context("failed to read the server's CPU time")?;
    Ok((server, procfs::cpu(std::process::id())?))
}

/// The microseconds for each of `count`.
#[must_use]
pub fn micros_each(duration: Duration, count: u64) -> f64 {
    duration.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// The number per second of `count` in `time`.
#[must_use]
pub fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shared_out() {
        assert!((micros_each(Duration::from_millis(3), 1000) - 3.0).abs() < 1e-9);
        assert!(micros_each(Duration::from_millis(3), 0).is_finite());
        assert!((per_second(1000, Duration::from_secs(4)) - 250.0).abs() < 1e-9);
    }
}
