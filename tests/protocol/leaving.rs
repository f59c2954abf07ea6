//! Ways out of a topic.

use millrace_tests::{App, Gate, TestServer};
use serde_json::json;

#[tokio::test]
async fn a_leave_is_answered_and_then_the_channel_closes() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:leave").await;
    let leave = client.push("room:leave", "phx_leave", json!({})).await;
    client.expect_reply("room:leave", &leave, "ok", json!({})).await;
    client.expect_closed("room:leave").await;
    let ping = client.push("room:leave", "ping", json!({})).await;
    client.expect_unmatched("room:leave", &ping).await;
}

#[tokio::test]
async fn a_leave_waits_for_what_was_sent_before_it() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:leave-behind";
    client.join(topic).await;
    let slow = json!({ "ms": 1 });
    let slow_ping = client.push(topic, "slow_ping", slow.clone()).await;
    let ping = client.push(topic, "ping", json!({})).await;
    let leave = client.push(topic, "phx_leave", json!({})).await;
    let late = client.push(topic, "ping", json!({})).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(topic, &slow_ping, "ok", slow).await;
    client.expect_reply(topic, &ping, "ok", json!({})).await;
    client.expect_reply(topic, &leave, "ok", json!({})).await;
    client.expect_closed(topic).await;
    client.expect_unmatched(topic, &late).await;
}

#[tokio::test]
async fn to_leave_what_was_never_joined_is_fine() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    for topic in ["room:never", "nowhere:1"] {
        client.socket.send_json(&json!(["11", "1", topic, "phx_leave", {}])).await;
        let ok = json!({ "status": "ok", "response": {} });
        client.socket.expect(json!(["11", "1", topic, "phx_reply", ok])).await;
    }
}

#[tokio::test]
async fn a_channel_that_stops_answers_and_then_closes() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:stop").await;
    let stop = client.push("room:stop", "stop", json!({})).await;
    client.expect_reply("room:stop", &stop, "ok", json!({})).await;
    client.expect_closed("room:stop").await;
    let ping = client.push("room:stop", "ping", json!({})).await;
    client.expect_unmatched("room:stop", &ping).await;
    client.join("room:stop").await;
}

#[tokio::test]
async fn messages_of_an_earlier_join_are_dropped_without_a_word() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:stale";
    client.join(topic).await;
    let old = client.join_ref(topic);
    client.join(topic).await;
    client.socket.expect(json!([old, old, topic, "phx_close", {}])).await;
    for event in ["ping", "crash", "phx_leave", "shout"] {
        let reference = client.next_ref();
        client.socket.send_json(&json!([old, reference, topic, event, {}])).await;
    }
    // The marker must be the first thing heard, from the channel that is still joined.
    client.expect_nothing_from(topic).await;
}

#[tokio::test]
async fn a_null_join_ref_is_the_current_join() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:null";
    client.join(topic).await;
    client.socket.send_json(&json!([null, "77", topic, "ping", { "n": 1 }])).await;
    client.expect_reply(topic, "77", "ok", json!({ "n": 1 })).await;
    client.socket.send_json(&json!([null, "78", topic, "phx_leave", {}])).await;
    client.expect_reply(topic, "78", "ok", json!({})).await;
    client.expect_closed(topic).await;
}

#[tokio::test]
async fn a_join_with_a_null_join_ref_goes_by_its_ref() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:null-join";
    let ok = json!({ "status": "ok", "response": {} });
    client.socket.send_json(&json!([null, "5", topic, "phx_join", {}])).await;
    client.socket.expect(json!([null, "5", topic, "phx_reply", ok])).await;
    client.socket.send_json(&json!([null, "6", topic, "push_me", { "n": 1 }])).await;
    client.socket.expect(json!(["5", null, topic, "pushed", { "n": 1 }])).await;
    let reply = client.socket.recv_json().await;
    assert_eq!(reply[1], "6", "{reply}");
    assert_eq!(reply[4], ok, "{reply}");
}
