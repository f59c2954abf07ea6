//! What waits for what, and what does not.

use millrace_tests::{App, Gate, TestClient, TestServer};
use serde_json::json;

/// However many there are: the gated probe waits until the test opens the gate.
const SLOW_MS: u64 = 1;

#[tokio::test]
async fn a_thousand_pings_are_answered_in_order() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:pipeline").await;
    let mut sent = Vec::new();
    for n in 0..1_000 {
        sent.push(client.push("room:pipeline", "ping", json!({ "n": n })).await);
    }
    for (n, reference) in sent.iter().enumerate() {
        client.expect_reply("room:pipeline", reference, "ok", json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn a_slow_handler_holds_up_its_own_topic_only() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    client.join("room:slow").await;
    client.join("room:quick").await;
    let slow = json!({ "ms": SLOW_MS });
    let slow_ping = client.push("room:slow", "slow_ping", slow.clone()).await;
    let behind = client.push("room:slow", "ping", json!({})).await;
    client.expect_answer("room:quick", "ping", json!({}), "ok", json!({})).await;
    client.expect_nothing().await;
    client.join("room:quick-too").await;
    gate.open();
    client.expect_reply("room:slow", &slow_ping, "ok", slow).await;
    client.expect_reply("room:slow", &behind, "ok", json!({})).await;
}

#[tokio::test]
async fn a_slow_join_holds_up_its_own_topic_only() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    client.join("room:quick").await;
    let join = client.send_join("room:slow-join", json!({ "slow_ms": SLOW_MS })).await;
    let ping = client.push("room:slow-join", "ping", json!({ "n": 1 })).await;
    let count = client.push("room:slow-join", "count", json!({})).await;
    client.expect_answer("room:quick", "ping", json!({}), "ok", json!({})).await;
    client.expect_nothing().await;
    client.join("room:quick-too").await;
    gate.open();
    // What was sent to the topic meanwhile is answered once the join is.
    client.expect_reply("room:slow-join", &join, "ok", json!({})).await;
    client.expect_reply("room:slow-join", &ping, "ok", json!({ "n": 1 })).await;
    client.expect_reply("room:slow-join", &count, "ok", json!({ "count": 1 })).await;
}

#[tokio::test]
async fn what_waited_for_a_join_that_failed_is_unmatched() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:slow-denied";
    let join = client.send_join(topic, json!({ "slow_ms": SLOW_MS, "deny": true })).await;
    let ping = client.push(topic, "ping", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(topic, &join, "error", json!({ "reason": "denied" })).await;
    client.expect_unmatched(topic, &ping).await;
}

#[tokio::test]
async fn a_leave_that_waited_for_the_join_ends_it() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:slow-left";
    let join = client.send_join(topic, json!({ "slow_ms": SLOW_MS })).await;
    let leave = client.push(topic, "phx_leave", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(topic, &join, "ok", json!({})).await;
    client.expect_reply(topic, &leave, "ok", json!({})).await;
    client.expect_closed(topic).await;
}

#[tokio::test]
async fn a_join_that_waited_for_the_join_replaces_it() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:slow-twice";
    let first = client.send_join(topic, json!({ "slow_ms": SLOW_MS })).await;
    let old = client.join_ref(topic);
    let second = client.send_join(topic, json!({})).await;
    client.expect_nothing().await;
    gate.open();
    let ok = json!({ "status": "ok", "response": {} });
    client.socket.expect(json!([old, first, topic, "phx_reply", ok])).await;
    client.expect_reply(topic, &second, "ok", json!({})).await;
    client.socket.expect(json!([old, old, topic, "phx_close", {}])).await;
    client.expect_nothing_from(topic).await;
}

#[tokio::test]
async fn a_slow_client_of_a_topic_does_not_hold_up_the_others() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join("room:slow-one").await;
    bob.join("room:slow-one").await;
    let slow = json!({ "ms": SLOW_MS });
    let slow_ping = alice.push("room:slow-one", "slow_ping", slow.clone()).await;
    gate.until_waiting(1).await;
    let shout = bob.push("room:slow-one", "shout", json!({})).await;
    bob.expect_broadcast("room:slow-one", "shout", json!({})).await;
    bob.expect_reply("room:slow-one", &shout, "ok", json!({})).await;
    // Not even the broadcast waits for the busy channel of its own client.
    alice.expect_broadcast("room:slow-one", "shout", json!({})).await;
    gate.open();
    alice.expect_reply("room:slow-one", &slow_ping, "ok", slow).await;
}

#[tokio::test]
async fn many_joins_at_once_are_each_answered() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let mut joins = Vec::new();
    for n in 0..50 {
        let topic = format!("room:at-once-{n}");
        joins.push((client.send_join(&topic, json!({})).await, topic));
    }
    let mut answered = 0;
    while answered < joins.len() {
        check_join_answer(&mut client, &joins).await;
        answered += 1;
    }
    client.expect_nothing().await;
}

/// The next message is the ok answer to one of the joins; their order is free.
async fn check_join_answer(client: &mut TestClient, joins: &[(String, String)]) {
    let answer = client.socket.recv_json().await;
    let join = joins.iter().find(|(reference, _)| answer[1] == **reference);
    let (_, topic) = join.unwrap_or_else(|| panic!("no join has this ref: {answer}"));
    assert_eq!(answer[0], client.join_ref(topic), "{answer}");
    assert_eq!(answer[2], **topic, "{answer}");
    assert_eq!(answer[4], json!({ "status": "ok", "response": {} }), "{answer}");
}
