//! The memory of a plugin's instances together is bounded, and small calls go on.

use millrace_tests::{App, Gate, eventually};
use serde_json::json;

use crate::longest_ping;

const MIB: usize = 1024 * 1024;
const MAX_TOTAL: usize = 512 * MIB;
/// Twice what all may have together.
const CHANNELS: usize = 20;
const HELD_BYTES: usize = 50_000_000;

#[tokio::test]
async fn calls_that_hold_memory_wait_for_each_other_and_hold_up_nobody() {
    let limits = format!("[limits]\nmax_total_memory_bytes = {MAX_TOTAL}");
    let gate = Gate::closed();
    let server = App::gated_hostile(&gate).with(&limits).serve();
    let (mut bystander, mut hoarder) = (server.client().await, server.client().await);
    bystander.join("hostile:bystander").await;
    let topics: Vec<_> = (0..CHANNELS).map(|topic| format!("hostile:{topic}")).collect();
    for topic in &topics {
        hoarder.join(topic).await;
    }
    let before = server.resident_bytes();
    let held = || server.resident_bytes().saturating_sub(before);
    for topic in &topics {
        hoarder.push(topic, "hold", json!({ "bytes": HELD_BYTES, "ms": 1 })).await;
    }
    // Some of it is held at a time.
    eventually("half of it is held", async || (held() > MAX_TOTAL / 2).then_some(())).await;
    let mut most = 0;
    // Nothing of it is given back, and yet small calls are answered.
    for _ in 0..10 {
        longest_ping(&mut bystander, "hostile:bystander", 20).await;
        most = most.max(held());
    }
    gate.open();
    for _ in 0..CHANNELS {
        let answer = hoarder.socket.recv_json().await[4].clone();
        let is_overloaded = answer["response"]["reason"] == "overloaded";
        assert!(answer["status"] == "ok" || is_overloaded, "{answer}");
        most = most.max(held());
    }
    // No more than may be.
    assert!(most < MAX_TOTAL + 128 * MIB, "{most} bytes");
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
