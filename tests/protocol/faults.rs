//! Channels that crash, and what they leave behind.

use millrace_tests::{App, Gate, TestClient, TestServer};
use serde_json::{Value, json};

/// Lets the channel of `topic` crash, and checks that nothing else has suffered.
async fn check_crash(client: &mut TestClient, topic: &str, event: &str, payload: Value) {
    let sibling = format!("{topic}-sibling");
    client.join(topic).await;
    client.join(&sibling).await;
    client.expect_answer(topic, "count", json!({}), "ok", json!({ "count": 1 })).await;
    client.expect_answer(&sibling, "count", json!({}), "ok", json!({ "count": 1 })).await;

    client.push(topic, event, payload).await;
    client.expect_crashed(topic).await;

    let ping = client.push(topic, "ping", json!({})).await;
    client.expect_unmatched(topic, &ping).await;
    client.expect_answer(&sibling, "count", json!({}), "ok", json!({ "count": 2 })).await;
    client.join(topic).await;
    client.expect_answer(topic, "count", json!({}), "ok", json!({ "count": 1 })).await;
}

#[tokio::test]
async fn a_handler_that_panics_takes_its_channel_along_and_nothing_else() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    check_crash(&mut client, "room:crash", "crash", json!({})).await;
}

#[tokio::test]
async fn a_handler_without_an_end_is_ended() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    check_crash(&mut client, "room:spin", "spin", json!({})).await;
}

#[tokio::test]
async fn a_handler_that_takes_all_memory_is_ended() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    check_crash(&mut client, "room:hog", "hog", json!({})).await;
}

#[tokio::test]
async fn what_a_crashed_handler_had_sent_is_not_sent() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    bob.join("room:shout-crash").await;
    alice.join("room:shout-crash").await;
    alice.push("room:shout-crash", "shout_then_crash", json!({})).await;
    alice.expect_crashed("room:shout-crash").await;
    alice.expect_nothing().await;
    bob.expect_nothing_from("room:shout-crash").await;
}

#[tokio::test]
async fn what_was_queued_behind_a_crash_is_unmatched() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:behind-crash";
    client.join(topic).await;
    let slow = json!({ "ms": 1 });
    let slow_ping = client.push(topic, "slow_ping", slow.clone()).await;
    client.push(topic, "crash", json!({})).await;
    let late = client.push(topic, "ping", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(topic, &slow_ping, "ok", slow).await;
    client.expect_crashed(topic).await;
    client.expect_unmatched(topic, &late).await;
}

#[tokio::test]
async fn a_crash_is_no_concern_of_other_clients() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join("room:crash-alone").await;
    bob.join("room:crash-alone").await;
    alice.push("room:crash-alone", "crash", json!({})).await;
    alice.expect_crashed("room:crash-alone").await;
    bob.expect_nothing_from("room:crash-alone").await;
    let shout = bob.push("room:crash-alone", "shout", json!({})).await;
    bob.expect_broadcast("room:crash-alone", "shout", json!({})).await;
    bob.expect_reply("room:crash-alone", &shout, "ok", json!({})).await;
    // A crashed channel hears no more.
    alice.expect_nothing().await;
}

#[tokio::test]
async fn a_crash_is_told_with_its_cause_in_the_log_only() {
    let server = App::probe().serve();
    let mut client = server.client().await;
    client.join("room:crash-log").await;
    client.push("room:crash-log", "crash", json!({})).await;
    client.expect_crashed("room:crash-log").await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let log = server.log();
    assert!(log.contains("the probe was told to crash"), "{log}");
}
