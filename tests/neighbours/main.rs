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

use millrace_tests::TestClient;
use serde_json::json;

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
