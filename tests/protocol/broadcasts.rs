//! One says it, all hear it.

use millrace_tests::TestServer;
use serde_json::json;

#[tokio::test]
async fn a_broadcast_reaches_all_of_the_topic_and_no_other() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    let mut carol = server.client().await;
    alice.join("room:shout").await;
    bob.join("room:shout").await;
    carol.join("room:shout-elsewhere").await;

    let payload = json!({ "text": "Grüße, 世界 🌍", "n": [1, 2.5, null] });
    let shout = alice.push("room:shout", "shout", payload.clone()).await;
    // The broadcast was sent before the answer.
    alice.expect_broadcast("room:shout", "shout", payload.clone()).await;
    alice.expect_reply("room:shout", &shout, "ok", json!({})).await;
    bob.expect_broadcast("room:shout", "shout", payload).await;

    alice.expect_nothing_from("room:shout").await;
    bob.expect_nothing_from("room:shout").await;
    carol.expect_nothing_from("room:shout-elsewhere").await;
}

#[tokio::test]
async fn a_broadcast_to_the_others_spares_the_sender() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join("room:others").await;
    bob.join("room:others").await;
    let shout = alice.push("room:others", "shout_others", json!({ "n": 1 })).await;
    alice.expect_reply("room:others", &shout, "ok", json!({})).await;
    bob.expect_broadcast("room:others", "shout_others", json!({ "n": 1 })).await;
    alice.expect_nothing_from("room:others").await;
    bob.expect_nothing_from("room:others").await;
}

#[tokio::test]
async fn every_listener_hears_the_broadcasts_of_one_sender_in_order() {
    let server = TestServer::shared();
    let mut sender = server.client().await;
    sender.join("room:sequence").await;
    let mut listeners = Vec::new();
    for _ in 0..5 {
        let mut listener = server.client().await;
        listener.join("room:sequence").await;
        listeners.push(listener);
    }
    for n in 0..100 {
        sender.push("room:sequence", "shout", json!({ "n": n })).await;
    }
    for listener in &mut listeners {
        for n in 0..100 {
            listener.expect_broadcast("room:sequence", "shout", json!({ "n": n })).await;
        }
        listener.expect_nothing_from("room:sequence").await;
    }
}

#[tokio::test]
async fn who_leaves_hears_no_more() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join("room:gone").await;
    bob.join("room:gone").await;
    let leave = bob.push("room:gone", "phx_leave", json!({})).await;
    bob.expect_reply("room:gone", &leave, "ok", json!({})).await;
    bob.expect_closed("room:gone").await;
    let shout = alice.push("room:gone", "shout", json!({})).await;
    alice.expect_broadcast("room:gone", "shout", json!({})).await;
    alice.expect_reply("room:gone", &shout, "ok", json!({})).await;
    bob.expect_nothing().await;
}

#[tokio::test]
async fn who_is_denied_hears_nothing() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join("room:closed-doors").await;
    let join = bob.send_join("room:closed-doors", json!({ "deny": true })).await;
    let denied = json!({ "reason": "denied" });
    bob.expect_reply("room:closed-doors", &join, "error", denied).await;
    let shout = alice.push("room:closed-doors", "shout", json!({})).await;
    alice.expect_broadcast("room:closed-doors", "shout", json!({})).await;
    alice.expect_reply("room:closed-doors", &shout, "ok", json!({})).await;
    bob.expect_nothing().await;
}
