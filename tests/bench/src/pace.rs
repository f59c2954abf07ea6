//! The times to send at a rate, whatever the server does.
//!
//! A load that waits for a slow server before it sends the next message leaves out exactly the slow
//! moments ("coordinated omission"). Here each message has its time on a schedule. If it cannot be
//! sent in time, it is sent as soon as possible, and its latency counts from the scheduled time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;

/// The scheduled time of each message; the first has the number 1.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    start: Instant,
    every: Duration,
}

/// A schedule that runs. A thread sleeps for it, as tokio's own timer has a resolution of a
/// millisecond.
#[derive(Debug)]
pub struct Pace {
    schedule: Schedule,
    numbers: mpsc::Receiver<u64>,
}

/// The most messages that are due but not asked for. Then the thread waits, and they keep their
/// times.
const BEHIND: usize = 1024;

impl Schedule {
    /// The scheduled time of message `number`.
    #[must_use]
    pub fn due(self, number: u64) -> Instant {
        let nanos = self.every.as_nanos().saturating_mul(number.saturating_sub(1).into());
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

impl Pace {
    /// Schedules so many messages per second from now on, until it is dropped.
    pub fn new(per_second: f64) -> Result<Self> {
        let every = Duration::try_from_secs_f64(1.0 / per_second)?;
        let schedule = Schedule { start: Instant::now(), every };
        let (sender, numbers) = mpsc::channel(BEHIND);
        thread::spawn(move || {
            for number in 1.. {
                thread::sleep(schedule.due(number).saturating_duration_since(Instant::now()));
                if sender.blocking_send(number).is_err() {
                    break;
                }
            }
        });
        Ok(Self { schedule, numbers })
    }

    /// The schedule of the messages.
    #[must_use]
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Waits for the next message, and returns its number and scheduled time. Cancel safe: it
    /// counts only once it is returned.
    pub async fn next(&mut self) -> Result<(u64, Instant)> {
        let number = self.numbers.recv().await.context("the schedule has ended")?;
        Ok((number, self.schedule.due(number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_late_keeps_its_time() {
        let mut pace = Pace::new(1000.0).unwrap();
        let (first, start) = pace.next().await.unwrap();
        assert_eq!((first, start), (1, pace.schedule().due(1)));
        while start.elapsed() < Duration::from_millis(5) {}
        for number in 2..=8 {
            let (found, due) = pace.next().await.unwrap();
            assert_eq!((found, due), (number, start + Duration::from_millis(number - 1)));
            assert!(due <= Instant::now());
        }
    }
}
