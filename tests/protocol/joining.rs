//! Who gets in, and what the others are told.

use millrace_tests::{App, Gate, TestClient, TestServer};
use serde_json::{Value, json};

/// Joins with `params` and checks the answer.
async fn check_join(client: &mut TestClient, topic: &str, params: Value, expected: (&str, Value)) {
    let join = client.send_join(topic, params).await;
    client.expect_reply(topic, &join, expected.0, expected.1).await;
}

#[tokio::test]
async fn a_join_is_answered_with_its_own_refs() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.socket.send_text(r#"["11","1","room:join","phx_join",{}]"#).await;
    let answer = json!({ "status": "ok", "response": {} });
    client.socket.expect(json!(["11", "1", "room:join", "phx_reply", answer])).await;
}

#[tokio::test]
async fn join_params_may_be_any_json_term() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    for (n, params) in [json!(null), json!(7), json!("text"), json!([1]), json!({ "deny": false })]
        .into_iter()
        .enumerate()
    {
        check_join(&mut client, &format!("room:params-{n}"), params, ("ok", json!({}))).await;
    }
}

#[tokio::test]
async fn a_denied_join_says_why_and_leaves_the_topic_unjoined() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let denied = ("error", json!({ "reason": "denied" }));
    check_join(&mut client, "room:denied", json!({ "deny": true }), denied).await;
    let ping = client.push("room:denied", "ping", json!({})).await;
    client.expect_unmatched("room:denied", &ping).await;
    client.join("room:denied").await;
}

#[tokio::test]
async fn a_crashed_join_is_answered_and_leaves_the_topic_unjoined() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let crashed = ("error", json!({ "reason": "join crashed" }));
    check_join(&mut client, "room:crashed", json!({ "crash": true }), crashed).await;
    let ping = client.push("room:crashed", "ping", json!({})).await;
    client.expect_unmatched("room:crashed", &ping).await;
    client.join("room:crashed").await;
}

#[tokio::test]
async fn a_channel_has_assigns_of_its_own_where_those_of_the_connection_are_of_another_shape() {
    let server = App::slow().plugin("probe", "tests/apps/probe").serve();
    let mut client = server.client().await;
    client.join("room:shape").await;
    for count in 1..=2 {
        let count = json!({ "count": count });
        client.expect_answer("room:shape", "count", json!({}), "ok", count).await;
    }
    // Those of the plugin that has decided about it are as it gave them.
    client.join("slow:shape").await;
    client.expect_answer("slow:shape", "value", json!({}), "ok", json!({ "value": "" })).await;
}

#[tokio::test]
async fn a_topic_without_a_channel_is_unmatched_with_a_null_join_ref() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    for topic in ["nowhere:1", "room", "Room:1", "phoenix", ""] {
        let join = client.send_join(topic, json!({})).await;
        client.expect_unmatched(topic, &join).await;
    }
    // `room:*` matches the empty rest, too.
    client.join("room:").await;
}

#[tokio::test]
async fn a_topic_of_more_than_255_bytes_is_refused() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join(&format!("room:{}", "x".repeat(250))).await;
    for len in [251, 100_000] {
        let topic = format!("room:{}", "x".repeat(len));
        // It would not fit in a binary frame.
        let refused = ("error", json!({ "reason": "topic has more than 255 bytes" }));
        check_join(&mut client, &topic, json!({}), refused).await;
    }
}

#[tokio::test]
async fn events_of_a_topic_that_is_not_joined_are_unmatched() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    for event in ["ping", "phx_close", "phx_reply", "heartbeat"] {
        let reference = client.push("room:stranger", event, json!({})).await;
        client.expect_unmatched("room:stranger", &reference).await;
    }
}

#[tokio::test]
async fn the_hundred_and_first_topic_is_refused() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    for n in 1..=100 {
        client.join(&format!("room:many-{n}")).await;
    }
    let refused = ("error", json!({ "reason": "too many channels joined" }));
    check_join(&mut client, "room:many-101", json!({}), refused).await;

    // Whether there is such a channel at all is checked before.
    let join = client.send_join("nowhere:1", json!({})).await;
    client.expect_unmatched("nowhere:1", &join).await;

    // A topic that is joined again takes the place it had.
    let old = client.join_ref("room:many-1");
    client.join("room:many-1").await;
    client.socket.expect(json!([old, old, "room:many-1", "phx_close", {}])).await;

    // One that is left makes place.
    let leave = client.push("room:many-2", "phx_leave", json!({})).await;
    client.expect_reply("room:many-2", &leave, "ok", json!({})).await;
    client.expect_closed("room:many-2").await;
    client.join("room:many-101").await;
}

#[tokio::test]
async fn a_second_join_replaces_the_first() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:twice";
    client.join(topic).await;
    client.expect_answer(topic, "count", json!({}), "ok", json!({ "count": 1 })).await;
    let old = client.join_ref(topic);

    let join = client.send_join(topic, json!({})).await;
    let push = client.push(topic, "push_me", json!({ "n": 1 })).await;

    // The new join's answer, the end of the old channel, then the new channel's word.
    client.expect_reply(topic, &join, "ok", json!({})).await;
    client.socket.expect(json!([old, old, topic, "phx_close", {}])).await;
    client.expect_push(topic, "pushed", json!({ "n": 1 })).await;
    client.expect_reply(topic, &push, "ok", json!({})).await;
    client.expect_answer(topic, "count", json!({}), "ok", json!({ "count": 1 })).await;
}

#[tokio::test]
async fn a_second_join_that_is_denied_ends_the_first_all_the_same() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:twice-denied";
    client.join(topic).await;
    let old = client.join_ref(topic);
    let denied = ("error", json!({ "reason": "denied" }));
    check_join(&mut client, topic, json!({ "deny": true }), denied).await;
    client.socket.expect(json!([old, old, topic, "phx_close", {}])).await;
    let ping = client.push(topic, "ping", json!({})).await;
    client.expect_unmatched(topic, &ping).await;
}

#[tokio::test]
async fn a_topic_that_was_replaced_hears_each_broadcast_once() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:twice-heard";
    client.join(topic).await;
    let old = client.join_ref(topic);
    client.join(topic).await;
    client.socket.expect(json!([old, old, topic, "phx_close", {}])).await;
    let shout = client.push(topic, "shout", json!({ "n": 1 })).await;
    client.expect_broadcast(topic, "shout", json!({ "n": 1 })).await;
    client.expect_reply(topic, &shout, "ok", json!({})).await;
    client.expect_nothing_from(topic).await;
}

#[tokio::test]
async fn a_second_join_does_not_wait_for_the_work_of_the_first() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:twice-busy";
    client.join(topic).await;
    let old = client.join_ref(topic);
    client.push(topic, "slow_ping", json!({ "ms": 1 })).await;
    client.push(topic, "shout", json!({})).await;
    gate.until_waiting(1).await;
    let join = client.send_join(topic, json!({})).await;
    client.expect_reply(topic, &join, "ok", json!({})).await;
    client.socket.expect(json!([old, old, topic, "phx_close", {}])).await;
    // The work is given up: the old channel neither answers nor shouts.
    gate.until_waiting(0).await;
    gate.open();
    client.expect_nothing_from(topic).await;
}
