//! Several calls of one channel at once.

use millrace_tests::{App, Gate};
use serde_json::json;

use crate::TOPIC;

#[tokio::test]
async fn a_channel_runs_as_many_calls_as_it_is_allowed() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).with("[limits]\nmax_concurrency = 3").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let slow = client.push(TOPIC, "wait", json!({ "ms": 1 })).await;
    gate.until_waiting(1).await;
    let second = client.push(TOPIC, "wait", json!({ "ms": 1 })).await;
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    gate.until_waiting(2).await;
    gate.let_through(1).await;
    client.expect_reply(TOPIC, &slow, "ok", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(TOPIC, &second, "ok", json!({})).await;
}

#[tokio::test]
async fn each_call_starts_from_the_assigns_of_its_start_and_the_last_to_return_wins() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).with("[limits]\nmax_concurrency = 3").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let last = client.push(TOPIC, "append", json!({ "value": "last", "ms": 1 })).await;
    gate.until_waiting(1).await;
    let first = client.push(TOPIC, "append", json!({ "value": "first" })).await;
    client.expect_reply(TOPIC, &first, "ok", json!({})).await;
    client.expect_answer(TOPIC, "value", json!({}), "ok", json!({ "value": "first" })).await;
    gate.open();
    client.expect_reply(TOPIC, &last, "ok", json!({})).await;
    client.expect_answer(TOPIC, "value", json!({}), "ok", json!({ "value": "last" })).await;
}

#[tokio::test]
async fn a_leave_waits_for_all_calls() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).with("[limits]\nmax_concurrency = 3").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let slow = client.push(TOPIC, "wait", json!({ "ms": 1 })).await;
    let leave = client.push(TOPIC, "phx_leave", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(TOPIC, &slow, "ok", json!({})).await;
    client.expect_reply(TOPIC, &leave, "ok", json!({})).await;
    client.expect_closed(TOPIC).await;
}

#[tokio::test]
async fn calls_wait_for_an_instance_and_all_get_one() {
    let server = App::slow().with("[limits]\nmax_instances = 2").serve();
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = server.client().await;
        for topic in ["slow:a", "slow:b", "slow:c"] {
            client.join(topic).await;
        }
        clients.push(client);
    }
    for client in &mut clients {
        for (number, topic) in ["slow:a", "slow:b", "slow:c"].iter().cycle().take(30).enumerate() {
            // Some are ready at once, some hold an instance.
            client.push(topic, "wait", json!({ "ms": number % 3 })).await;
        }
    }
    for client in &mut clients {
        for _ in 0..30 {
            assert_eq!(client.socket.recv_json().await[4]["status"], "ok");
        }
    }
}

#[tokio::test]
async fn who_joins_again_gives_up_the_calls_in_flight_and_pays_for_them() {
    let server = App::slow().with("[limits]\nmax_instances = 1\n[socket]\nmax_faults = 2").serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    other.join(TOPIC).await;
    let refusal = loop {
        let join = client.send_join(TOPIC, json!({})).await;
        let answer = loop {
            let message = client.socket.recv_json().await;
            if message[1] == json!(join) {
                break message[4].clone();
            }
            assert_eq!(message[3], "phx_close", "of the join before: {message}");
        };
        if answer["status"] == "error" {
            break answer["response"]["reason"].clone();
        }
        // Nobody else gets an instance until this call has gone.
        client.push(TOPIC, "wait", json!({ "ms": crate::NEVER_MS })).await;
    };
    assert_eq!(refusal, "unavailable");
    other.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
}
