//! The memory of a plugin's instances together is bounded, and small calls go on.

use std::time::Duration;

use millrace_tests::App;
use serde_json::json;

use crate::longest_ping;

const MIB: usize = 1024 * 1024;
const MAX_TOTAL: usize = 512 * MIB;
/// Twice what all may have together.
const CHANNELS: usize = 20;
const HELD_BYTES: usize = 50_000_000;
/// A bystander who had to wait for any of it would wait longer than it may.
const HELD_MS: u64 = 6_000;
const PROMPTLY: Duration = Duration::from_secs(5);

#[tokio::test]
async fn calls_that_hold_memory_wait_for_each_other_and_hold_up_nobody() {
    let limits = format!("[limits]\nmax_total_memory_bytes = {MAX_TOTAL}");
    let server = App::hostile().with(&limits).serve();
    let (mut bystander, mut hoarder) = (server.client().await, server.client().await);
    bystander.join("hostile:bystander").await;
    let topics: Vec<_> = (0..CHANNELS).map(|topic| format!("hostile:{topic}")).collect();
    for topic in &topics {
        hoarder.join(topic).await;
    }
    let before = server.resident_bytes();
    for topic in &topics {
        hoarder.push(topic, "hold", json!({ "bytes": HELD_BYTES, "ms": HELD_MS })).await;
    }
    let answers = tokio::spawn(async move {
        let mut answers = Vec::new();
        while answers.len() < CHANNELS {
            answers.push(hoarder.socket.recv_json().await[4].clone());
        }
        answers
    });
    let (mut most, mut longest) = (0, Duration::ZERO);
    while !answers.is_finished() {
        longest = longest.max(longest_ping(&mut bystander, "hostile:bystander", 20).await);
        most = most.max(server.resident_bytes());
    }
    for answer in answers.await.unwrap() {
        let is_overloaded = answer["response"]["reason"] == "overloaded";
        assert!(answer["status"] == "ok" || is_overloaded, "{answer}");
    }
    let held = most.saturating_sub(before);
    // Some of it was held at a time, and no more than may be.
    assert!(held > MAX_TOTAL / 2 && held < MAX_TOTAL + 128 * MIB, "{held} bytes");
    assert!(longest < PROMPTLY, "{longest:?}");
    server.client().await.join("hostile:newcomer").await;
}

#[tokio::test]
async fn what_one_call_can_never_have_is_refused_at_once() {
    let limits = format!("[limits]\nmax_total_memory_bytes = {}", 32 * MIB);
    let server = App::hostile().with(&limits).serve();
    let mut client = server.client().await;
    client.join("hostile:a").await;
    client.push("hostile:a", "hold", json!({ "bytes": 40_000_000, "ms": 0 })).await;
    client.expect_crashed("hostile:a").await;
    client.join("hostile:a").await;
}
