//! A client that sends faster than its channel works.

use millrace_tests::{App, Gate, TestClient, TestServer};
use serde_json::json;

const TOPIC: &str = "room:overload";

/// However many there are: the gated probe waits until the test opens the gate.
const SLOW_MS: u64 = 1;

/// A client whose channel works until the gate is open, with the four messages behind it
/// that may wait.
async fn busy(server: &TestServer) -> (TestClient, Vec<String>) {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let mut sent = vec![client.push(TOPIC, "slow_ping", json!({ "ms": SLOW_MS })).await];
    for _ in 0..4 {
        sent.push(client.push(TOPIC, "ping", json!({ "ms": SLOW_MS })).await);
    }
    (client, sent)
}

#[tokio::test]
async fn what_finds_no_room_to_wait_is_refused_at_once() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).with("[socket]\nmax_pending = 4").serve();
    let (mut client, waiting) = busy(&server).await;
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 1_000 });
    client.expect_answer(TOPIC, "ping", json!({}), "error", overloaded).await;
    gate.open();
    for reference in &waiting {
        client.expect_reply(TOPIC, reference, "ok", json!({ "ms": SLOW_MS })).await;
    }
    // There is room again.
    client.expect_nothing_from(TOPIC).await;
}

#[tokio::test]
async fn a_leave_always_finds_room() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).with("[socket]\nmax_pending = 4").serve();
    let (mut client, waiting) = busy(&server).await;
    let leave = client.push(TOPIC, "phx_leave", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    for reference in &waiting {
        client.expect_reply(TOPIC, reference, "ok", json!({ "ms": SLOW_MS })).await;
    }
    client.expect_reply(TOPIC, &leave, "ok", json!({})).await;
    client.expect_closed(TOPIC).await;
}

#[tokio::test]
async fn joins_that_wait_for_a_join_are_limited_too() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).with("[socket]\nmax_pending = 4").serve();
    let mut client = server.client().await;
    let join = client.send_join(TOPIC, json!({ "slow_ms": SLOW_MS })).await;
    let mut waiting = Vec::new();
    for _ in 0..4 {
        waiting.push(client.push(TOPIC, "ping", json!({})).await);
    }
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 1_000 });
    client.expect_answer(TOPIC, "ping", json!({}), "error", overloaded).await;
    gate.open();
    client.expect_reply(TOPIC, &join, "ok", json!({})).await;
    for reference in &waiting {
        client.expect_reply(TOPIC, reference, "ok", json!({})).await;
    }
}
