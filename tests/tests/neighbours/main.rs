//! What one client or plugin can do to others: each attack with bystanders beside it.
//! A test judges what the bystanders and the server suffer, and says what happens to
//! the attacker only where that is a promise, too.

mod admission;
mod breaker;
mod compiling;
mod events;
mod files;
mod fuel;
mod grants;
mod ingest;
mod instances;
mod log;
mod memory;
mod operators;
mod plugin_memory;
mod reading;
mod rounds;

use std::time::{Duration, Instant};

use millrace_tests::{TestClient, TestServer};
use serde_json::json;

/// Resident memory of the server, in bytes.
fn rss(server: &TestServer) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// The longest that one of so many answers to `ping` takes a bystander.
///
/// # Panics
/// If one is not answered with `ok`.
async fn longest_ping(bystander: &mut TestClient, topic: &str, pings: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for number in 0..pings {
        let (payload, begin) = (json!({ "number": number }), Instant::now());
        bystander.expect_answer(topic, "ping", payload.clone(), "ok", payload).await;
        longest = longest.max(begin.elapsed());
    }
    longest
}
