//! Calls that take too long.

use millrace_tests::App;
use serde_json::json;

use crate::{NEVER_MS, TOPIC};

#[tokio::test]
async fn a_join_that_takes_too_long_is_refused_and_can_be_tried_again() {
    let server = App::slow().with("[limits]\njoin_timeout_ms = 50").serve();
    let mut client = server.client().await;
    let join = client.send_join(TOPIC, json!({ "ms": NEVER_MS })).await;
    client.expect_nothing().await;
    client.expect_reply(TOPIC, &join, "error", json!({ "reason": "join timeout" })).await;
    client.join(TOPIC).await;
}

#[tokio::test]
async fn a_handler_that_takes_too_long_answers_and_its_channel_goes_on() {
    let server = App::slow().with("[limits]\ncall_timeout_ms = 50").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let timeout = json!({ "reason": "handler timeout" });
    client.expect_answer(TOPIC, "wait", json!({ "ms": NEVER_MS }), "error", timeout).await;
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    server.wait_for_log("took longer than 50 ms (limits.call_timeout_ms)", 1);
}

#[tokio::test]
async fn calls_that_wait_for_an_instance_have_the_same_deadline_and_another_answer() {
    let limits = "max_instances = 1\ncall_timeout_ms = 400\njoin_timeout_ms = 1500";
    let server = App::slow().with(&format!("[limits]\n{limits}")).serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    other.join(TOPIC).await;
    let slow = client.send_join(TOPIC, json!({ "ms": NEVER_MS })).await;
    let heartbeat = client.heartbeat().await;
    client.expect_heartbeat(&heartbeat).await;
    let waiting = other.push(TOPIC, "wait", json!({ "ms": NEVER_MS })).await;
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 1000 });
    other.expect_reply(TOPIC, &waiting, "error", overloaded).await;
    client.expect_reply(TOPIC, &slow, "error", json!({ "reason": "join timeout" })).await;
    other.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
}
