//! The CPU time and memory of a process, from its clock and from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::time::ClockId;
use nix::unistd::Pid;

/// The CPU time of a process so far, in user and kernel mode together. It comes from the clock of
/// the process, as `/proc/PID/stat` has it only in steps of 10 ms.
pub fn cpu(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(clock.now()?.into())
}

/// The resident memory of a process in bytes.
pub fn rss(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    field(&status, "VmRSS:").context("unexpected /proc/PID/status")
}

/// The proportional set size (PSS) of a process in bytes, which counts shared pages once.
pub fn pss(pid: u32) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    field(&rollup, "Pss:").context("unexpected /proc/PID/smaps_rollup")
}

/// The value of a line such as `VmRSS: 12 kB`, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read() {
        assert_eq!(field("Name:\tx\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12 * 1024));
        assert!(pss(std::process::id()).unwrap() > 0);
        assert!(rss(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn what_is_computed_takes_cpu_time_and_what_sleeps_does_not() {
        let pid = std::process::id();
        let (before, start) = (cpu(pid).unwrap(), std::time::Instant::now());
        while start.elapsed() < Duration::from_millis(20) {}
        assert!(cpu(pid).unwrap() > before);
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(cpu(sleeper.id()).unwrap() < Duration::from_secs(1));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }
}
