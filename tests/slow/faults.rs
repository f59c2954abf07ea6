//! Who pays for calls that trap.

use serde_json::{Value, json};

use millrace_tests::{App, TestClient};

use crate::TOPIC;

/// Joins and crashes until the server has had enough; its answer, and how often
/// it went along.
async fn crash_until_refused(client: &mut TestClient) -> (Value, usize) {
    let mut crashes = 0;
    loop {
        let join = client.send_join(TOPIC, json!({})).await;
        let answer = client.socket.recv_json().await;
        assert_eq!(answer[1], json!(join));
        if answer[4]["status"] == "error" {
            return (answer[4]["response"].clone(), crashes);
        }
        client.push(TOPIC, "crash", json!({})).await;
        let crashed = client.socket.recv_json().await;
        if crashed[3] == "phx_reply" {
            return (crashed[4]["response"].clone(), crashes);
        }
        assert_eq!(crashed[3], "phx_error");
        crashes += 1;
    }
}

#[tokio::test]
async fn a_client_that_causes_traps_is_held_back_alone() {
    let server = App::slow().with("[socket]\nmax_faults = 3").serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    other.join(TOPIC).await;
    let (refusal, crashes) = crash_until_refused(&mut client).await;
    assert_eq!(refusal["reason"], "unavailable");
    assert!(refusal["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{refusal}");
    assert!(crashes >= 4, "{crashes} crashes");
    client.expect_nothing().await;
    other.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    // A new connection has done nothing wrong yet.
    server.client().await.join(TOPIC).await;
}

#[tokio::test]
async fn a_plugin_that_always_traps_is_held_back_and_tried_again() {
    let server = App::slow().with("[socket]\nmax_faults = 100000").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    // Of two calls, the handler and its task, one traps.
    let mut crashes = 0;
    let refusal = loop {
        let task = json!({ "value": "crash" });
        client.push(TOPIC, "task", task).await;
        crashes += 1;
        let answer = client.socket.recv_json().await;
        let response = &answer[4]["response"];
        if response["reason"] != "task crashed" {
            break response.clone();
        }
        assert!(crashes < 1_000, "it is never held back");
    };
    assert_eq!(refusal["reason"], "unavailable");
    server.wait_for_log("too many calls trap: not called", 1);
    // After a while it gets its chance.
    loop {
        let ping = client.push(TOPIC, "ping", json!({})).await;
        let answer = client.socket.recv_json().await;
        assert_eq!(answer[1], json!(ping));
        if answer[4]["status"] == "ok" {
            break;
        }
        assert_eq!(answer[4]["response"]["reason"], "unavailable");
    }
}

#[tokio::test]
async fn a_call_that_spins_to_its_fuel_limit_does_not_stop_others() {
    let server = App::slow().with("[limits]\nfuel = 2000000000").serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.join(TOPIC).await;
    other.join(TOPIC).await;
    client.push(TOPIC, "spin", json!({})).await;
    for _ in 0..100 {
        other.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    }
    client.expect_crashed(TOPIC).await;
}
