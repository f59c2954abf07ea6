//! Work beside a channel.

use millrace_tests::{App, Gate, eventually};
use serde_json::json;

use crate::{NEVER_MS, TOPIC};

#[tokio::test]
async fn a_task_holds_up_nobody_and_answers_its_message() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let slow = client.push(TOPIC, "task", json!({ "value": "wait", "ms": 1 })).await;
    gate.until_waiting(1).await;
    // Handled while the task waits.
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    gate.open();
    client.expect_reply(TOPIC, &slow, "ok", json!({})).await;
}

#[tokio::test]
async fn tasks_push_and_broadcast_in_the_order_they_were_asked_to() {
    let server = App::slow().serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.join(TOPIC).await;
    other.join(TOPIC).await;
    let push = client.push(TOPIC, "task", json!({ "value": "push" })).await;
    client.expect_push(TOPIC, "done", json!({})).await;
    client.expect_reply(TOPIC, &push, "ok", json!({})).await;
    let shout = client.push(TOPIC, "task", json!({ "value": "shout" })).await;
    client.expect_broadcast(TOPIC, "shout", json!({})).await;
    client.expect_reply(TOPIC, &shout, "ok", json!({})).await;
    other.expect_broadcast(TOPIC, "shout", json!({})).await;
}

#[tokio::test]
async fn a_task_that_comes_to_nothing_says_so_to_the_message_that_started_it() {
    let server = App::slow().with("[limits]\ntask_timeout_ms = 50").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    for (task, reason) in [
        ("crash", "task crashed"),
        ("stop", "task crashed"),
        ("wait", "task timeout"),
        ("fail", "the task was told to fail"),
    ] {
        let order = json!({ "value": task, "ms": NEVER_MS });
        let reason = json!({ "reason": reason });
        client.expect_answer(TOPIC, "task", order, "error", reason).await;
    }
    // The channel has noticed nothing.
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    server.wait_for_log("a task has no channel to subscribe", 1);
}

#[tokio::test]
async fn a_task_starts_another_that_answers() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.expect_answer(TOPIC, "task", json!({ "value": "chain" }), "ok", json!({})).await;
}

#[tokio::test]
async fn tasks_are_bounded_for_each_connection() {
    let server = App::slow().with("[socket]\nmax_tasks = 2\nretry_after_ms = 70").serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.join(TOPIC).await;
    other.join(TOPIC).await;
    for _ in 0..2 {
        client.push(TOPIC, "task", json!({ "value": "wait", "ms": NEVER_MS })).await;
    }
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 70 });
    client.expect_answer(TOPIC, "task", json!({ "value": "wait" }), "error", overloaded).await;
    other.expect_answer(TOPIC, "task", json!({ "value": "wait" }), "ok", json!({})).await;
}

#[tokio::test]
async fn tasks_are_bounded_for_each_plugin() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).with("[limits]\nmax_tasks = 1").serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.join(TOPIC).await;
    other.join(TOPIC).await;
    let slow = client.push(TOPIC, "task", json!({ "value": "wait", "ms": 1 })).await;
    gate.until_waiting(1).await;
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 1_000 });
    other.expect_answer(TOPIC, "task", json!({ "value": "wait" }), "error", overloaded).await;
    gate.open();
    client.expect_reply(TOPIC, &slow, "ok", json!({})).await;
    // Its room is free as soon as it has answered, or just after.
    let is_free = async || {
        let again = other.push(TOPIC, "task", json!({ "value": "wait" })).await;
        let answer = other.socket.recv_json().await;
        assert_eq!(answer[1], json!(again));
        (answer[4]["status"] == "ok").then_some(())
    };
    eventually("its room is free", is_free).await;
}

#[tokio::test]
async fn a_task_outlives_its_channel_and_pushes_to_nobody_else() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.push(TOPIC, "task", json!({ "value": "push", "ms": 1 })).await;
    gate.until_waiting(1).await;
    let leave = client.push(TOPIC, "phx_leave", json!({})).await;
    client.expect_reply(TOPIC, &leave, "ok", json!({})).await;
    client.expect_closed(TOPIC).await;
    // Another join of the same topic is not the one the task was started by.
    client.join(TOPIC).await;
    gate.open();
    gate.until_waiting(0).await;
    let mark = client.push(TOPIC, "task", json!({ "value": "wait", "ms": 1 })).await;
    client.expect_reply(TOPIC, &mark, "ok", json!({})).await;
}

#[tokio::test]
async fn a_server_that_stops_waits_for_its_tasks() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.push(TOPIC, "task", json!({ "value": "wait", "ms": 1 })).await;
    gate.until_waiting(1).await;
    server.tell_to_stop();
    server.wait_for_log("stopping connections=1", 1);
    gate.open();
    drop(client);
    assert!(server.wait().success());
    assert!(!server.log().contains("did not end in time"), "{}", server.log());
}
