//! Slow handlers, tasks, late answers, deadlines and faults: what a client sees
//! of them. The app is `tests/apps/slow`.

mod clocks;
mod concurrency;
mod deadlines;
mod disconnecting;
mod faults;
mod flushing;
mod late_replies;
mod tasks;

/// The topic of most tests: each has a server of its own.
const TOPIC: &str = "slow:a";

/// Longer than any test waits for an answer.
const NEVER_MS: u64 = 3_600_000;
