//! Effects of calls that go on.

use millrace_tests::{App, Gate};
use serde_json::json;

use crate::TOPIC;

#[tokio::test]
async fn a_long_handler_reports_its_progress() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let order = json!({ "steps": 3, "ms": 1 });
    let long = client.push(TOPIC, "progress", order).await;
    for step in 0..3 {
        client.expect_push(TOPIC, "step", json!({ "step": step })).await;
        // The handler is still at it, and the connection is not.
        gate.until_waiting(1).await;
        client.expect_nothing().await;
        gate.let_through(1).await;
    }
    client.expect_reply(TOPIC, &long, "ok", json!({})).await;
}

#[tokio::test]
async fn a_task_reports_its_progress() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let long = client.push(TOPIC, "task", json!({ "value": "progress", "steps": 50 })).await;
    for step in 0..50 {
        client.expect_push(TOPIC, "step", json!({ "step": step })).await;
    }
    client.expect_reply(TOPIC, &long, "ok", json!({})).await;
}

#[tokio::test]
async fn what_is_flushed_stays_when_the_call_crashes() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.push(TOPIC, "progress_then_crash", json!({ "steps": 1 })).await;
    client.expect_push(TOPIC, "step", json!({ "step": 0 })).await;
    client.expect_crashed(TOPIC).await;
}

#[tokio::test]
async fn flushed_effects_count_against_the_limits_of_the_call() {
    let server = App::slow().with("[limits]\nmax_effects = 4").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.push(TOPIC, "progress", json!({ "steps": 5 })).await;
    for step in 0..4 {
        client.expect_push(TOPIC, "step", json!({ "step": step })).await;
    }
    client.expect_crashed(TOPIC).await;
    server.wait_for_log("5 effects, allowed are 4 (limits.max_effects)", 1);
}

#[tokio::test]
async fn stop_is_returned_and_not_flushed() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.push(TOPIC, "flush_stop", json!({})).await;
    client.expect_crashed(TOPIC).await;
    server.wait_for_log("`stop` cannot be flushed; return it", 1);
}
