//! Events, their answers, and pushes to one client.

use millrace_tests::{App, TestServer};
use serde_json::{Value, json};

#[tokio::test]
async fn an_event_is_answered_with_any_json_term() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:terms").await;
    for term in [
        json!(null),
        json!(true),
        json!(0),
        json!(-17.25),
        json!(u64::MAX),
        json!(""),
        json!("a \"quoted\" \\ line\n\u{0}\u{7f}\u{2028} — Grüße, 世界 🌍"),
        json!([]),
        json!([1, [2, [3, {}]]]),
        json!({}),
        json!({ "": { "a b": [null, false], "ключ": "значение" } }),
        json!({ "status": "ok", "response": {} }),
    ] {
        client.expect_answer("room:terms", "ping", term.clone(), "ok", term).await;
    }
}

#[tokio::test]
async fn numbers_keep_their_digits() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:digits").await;
    let join_ref = client.join_ref("room:digits");
    for digits in ["12345678901234567890123", "0.1000000000000000055511151231257827", "1.0", "1E3"]
    {
        let reference = client.next_ref();
        let text = format!(r#"["{join_ref}","{reference}","room:digits","ping",{{"n":{digits}}}]"#);
        client.socket.send_text(text).await;
        let answer = client.socket.recv_text().await;
        assert!(answer.contains(&format!(r#""n":{digits}"#)), "{digits} became {answer}");
    }
}

#[tokio::test]
async fn deep_nesting_is_no_danger() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:deep").await;
    let term = (0..100).fold(json!("core"), |inside, _| json!([inside]));
    client.expect_answer("room:deep", "ping", term.clone(), "ok", term).await;
}

#[tokio::test]
async fn a_payload_of_a_megabyte_comes_back() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:big").await;
    let payload = json!({ "text": "0123456789".repeat(100_000) });
    client.expect_answer("room:big", "ping", payload.clone(), "ok", payload).await;
}

#[tokio::test]
async fn an_answer_may_be_larger_than_what_may_wait_for_a_slow_client() {
    let server = App::probe().with("[socket]\noutbox_bytes = 100_000").serve();
    let mut client = server.client().await;
    client.join("room:bigger").await;
    for size in [99_000, 101_000, 5_000_000] {
        let payload = json!({ "text": "x".repeat(size) });
        client.expect_answer("room:bigger", "ping", payload.clone(), "ok", payload).await;
    }
}

#[tokio::test]
async fn what_lies_behind_the_fifth_element_is_ignored() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.socket.send_text(r#"["11","1","room:extra","phx_join",{},"more",{"and":[1]}]"#).await;
    let ok = json!({ "status": "ok", "response": {} });
    client.socket.expect(json!(["11", "1", "room:extra", "phx_reply", ok])).await;
    client.socket.send_text(r#" [ "11" , "2","room:extra","ping", {} , null ] "#).await;
    client.socket.expect(json!(["11", "2", "room:extra", "phx_reply", ok])).await;
}

#[tokio::test]
async fn a_handler_answers_with_an_error_and_lives_on() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:errors";
    client.join(topic).await;
    let why = json!({ "why": "told to" });
    client.expect_answer(topic, "fail", why.clone(), "error", why).await;
    let unknown = json!({ "reason": "unknown event \"xyz\"" });
    client.expect_answer(topic, "xyz", json!({}), "error", unknown).await;
    client.expect_answer(topic, "version", json!({}), "ok", json!({ "version": "1" })).await;
}

#[tokio::test]
async fn events_that_look_reserved_reach_the_channel() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:reserved").await;
    for event in
        ["phx_close", "phx_error", "phx_reply", "presence_diff", "disconnect", "heartbeat", ""]
    {
        let unknown = json!({ "reason": format!("unknown event {event:?}") });
        client.expect_answer("room:reserved", event, json!({}), "error", unknown).await;
    }
}

#[tokio::test]
async fn a_push_goes_to_its_client_alone() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join("room:push").await;
    bob.join("room:push").await;
    let payload = json!({ "for": ["alice"] });
    let reference = alice.push("room:push", "push_me", payload.clone()).await;
    alice.expect_push("room:push", "pushed", payload).await;
    alice.expect_reply("room:push", &reference, "ok", json!({})).await;
    bob.expect_nothing_from("room:push").await;
}

#[tokio::test]
async fn assigns_last_as_long_as_the_channel() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let count = |n: u64| json!({ "count": n });
    client.join("room:count").await;
    client.join("room:count-too").await;
    for n in 1..=3 {
        client.expect_answer("room:count", "count", json!({}), "ok", count(n)).await;
    }
    client.expect_answer("room:count-too", "count", json!({}), "ok", count(1)).await;
    client.expect_answer("room:count", "count", json!({}), "ok", count(4)).await;

    let leave = client.push("room:count", "phx_leave", json!({})).await;
    client.expect_reply("room:count", &leave, "ok", json!({})).await;
    client.expect_closed("room:count").await;
    client.join("room:count").await;
    client.expect_answer("room:count", "count", json!({}), "ok", count(1)).await;
    client.expect_answer("room:count-too", "count", json!({}), "ok", count(2)).await;
}

#[tokio::test]
async fn two_clients_of_a_topic_have_assigns_of_their_own() {
    let server = TestServer::shared();
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    for client in [&mut alice, &mut bob] {
        client.join("room:own").await;
        let first: Value = json!({ "count": 1 });
        client.expect_answer("room:own", "count", json!({}), "ok", first).await;
    }
}
