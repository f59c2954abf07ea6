//! Version 1 of the protocol: objects, and no binary frames. Clients that send no
//! `vsn`, or 1.0.x, speak it.

use millrace_tests::{TestServer, TestSocket};
use serde_json::{Value, json};

/// Sends an event; the next message is the answer.
async fn check(
    socket: &mut TestSocket,
    (topic, event, payload): (&str, &str, Value),
    reference: Value,
    (status, response): (&str, Value),
) {
    let message = json!({ "topic": topic, "event": event, "payload": payload, "ref": reference });
    socket.send_json(&message).await;
    socket.expect(reply(topic, &reference, status, &response)).await;
}

/// An answer: four keys, and no `join_ref`.
fn reply(topic: &str, reference: &Value, status: &str, response: &Value) -> Value {
    let payload = json!({ "status": status, "response": response });
    json!({ "topic": topic, "event": "phx_reply", "payload": payload, "ref": reference })
}

async fn join(socket: &mut TestSocket, topic: &str) {
    check(socket, (topic, "phx_join", json!({})), json!("1"), ("ok", json!({}))).await;
}

#[tokio::test]
async fn a_client_that_names_no_version_speaks_the_first() {
    let server = TestServer::shared();
    for path in
        ["/socket/websocket", "/socket/websocket?vsn=1.0.0", "/socket/websocket?token=a&vsn=1.0.7"]
    {
        let mut socket = TestSocket::connect(server.address(), path).await;
        join(&mut socket, "room:v1").await;
        let ping = ("room:v1", "ping", json!({ "n": [1, null] }));
        check(&mut socket, ping, json!("2"), ("ok", json!({ "n": [1, null] }))).await;
    }
}

#[tokio::test]
async fn errors_and_heartbeats_are_answered() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    let heartbeat = ("phoenix", "heartbeat", json!({}));
    check(&mut socket, heartbeat, json!("1"), ("ok", json!({}))).await;
    // As Python clients send it.
    let heartbeat = ("phoenix", "heartbeat", json!(null));
    check(&mut socket, heartbeat, json!(null), ("ok", json!({}))).await;
    let stranger = ("nowhere:1", "phx_join", json!({}));
    let unmatched = json!({ "reason": "unmatched topic" });
    check(&mut socket, stranger, json!("2"), ("error", unmatched)).await;
    let denied = ("room:v1-errors", "phx_join", json!({ "deny": true }));
    check(&mut socket, denied, json!("3"), ("error", json!({ "reason": "denied" }))).await;
    join(&mut socket, "room:v1-errors").await;
    let fail = ("room:v1-errors", "fail", json!({ "why": 1 }));
    check(&mut socket, fail, json!("4"), ("error", json!({ "why": 1 }))).await;
}

#[tokio::test]
async fn refs_come_back_as_they_were_sent() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    join(&mut socket, "room:v1-refs").await;
    for reference in [json!("text"), json!(7), json!(1.5), json!(true), json!("é\n\"")] {
        let ping = ("room:v1-refs", "ping", json!({}));
        check(&mut socket, ping, reference, ("ok", json!({}))).await;
    }
}

#[tokio::test]
async fn pushes_and_broadcasts_have_a_null_ref() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    let topic = "room:v1-push";
    join(&mut socket, topic).await;
    for (event, heard) in [("push_me", "pushed"), ("shout", "shout")] {
        let payload = json!({ "n": 1 });
        let message = json!({ "topic": topic, "event": event, "payload": payload, "ref": "2" });
        socket.send_json(&message).await;
        let push = json!({ "topic": topic, "event": heard, "payload": payload, "ref": null });
        socket.expect(push).await;
        socket.expect(reply(topic, &json!("2"), "ok", &json!({}))).await;
    }
}

#[tokio::test]
async fn a_leave_is_answered_and_then_the_channel_closes() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    let topic = "room:v1-leave";
    join(&mut socket, topic).await;
    check(&mut socket, (topic, "phx_leave", json!({})), json!("2"), ("ok", json!({}))).await;
    check_end(&mut socket, topic, "phx_close", json!({})).await;
}

#[tokio::test]
async fn a_crash_is_told() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    let topic = "room:v1-crash";
    join(&mut socket, topic).await;
    let crash = json!({ "topic": topic, "event": "crash", "payload": {}, "ref": "2" });
    socket.send_json(&crash).await;
    check_end(&mut socket, topic, "phx_error", json!({ "reason": "channel_crash" })).await;
    join(&mut socket, topic).await;
}

/// The next message ends the channel. Its ref is null: the client has sent no
/// `join_ref`, and what the join's ref was is the server's own business.
async fn check_end(socket: &mut TestSocket, topic: &str, event: &str, payload: Value) {
    let end = socket.recv_json().await;
    let expected = json!({ "topic": topic, "event": event, "payload": payload, "ref": end["ref"] });
    assert_eq!(end, expected);
    assert!(end["ref"].is_null() || end["ref"] == "1", "{end}");
}

#[tokio::test]
async fn a_join_ref_counts_when_there_is_one() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    let topic = "room:v1-join-ref";
    let message = |event: &str, join_ref: &str, reference: &str| {
        json!({
            "topic": topic, "event": event, "payload": {}, "ref": reference, "join_ref": join_ref,
        })
    };
    socket.send_json(&message("phx_join", "11", "1")).await;
    socket.expect(reply(topic, &json!("1"), "ok", &json!({}))).await;
    socket.send_json(&message("ping", "10", "2")).await;
    socket.send_json(&message("ping", "11", "3")).await;
    socket.expect(reply(topic, &json!("3"), "ok", &json!({}))).await;
    socket.send_json(&message("phx_leave", "11", "4")).await;
    socket.expect(reply(topic, &json!("4"), "ok", &json!({}))).await;
    let close = json!({ "topic": topic, "event": "phx_close", "payload": {}, "ref": "11" });
    socket.expect(close).await;
}

#[tokio::test]
async fn frames_that_are_no_version_1_message_close_the_connection() {
    let server = TestServer::shared();
    for text in [
        r#"["11","1","room:v1-bad","phx_join",{}]"#,
        r#"{"event":"phx_join","payload":{},"ref":"1"}"#,
        r#"{"topic":"room:v1-bad","payload":{},"ref":"1"}"#,
        r#"{"topic":"room:v1-bad","event":"phx_join","ref":"1"}"#,
        r#"{"topic":"room:v1-bad","event":"phx_join","payload":{}}"#,
        r#"{"topic":1,"event":"phx_join","payload":{},"ref":"1"}"#,
        "null",
        "",
    ] {
        let mut socket = server.v1_socket().await;
        socket.send_text(text).await;
        let (code, reason) = socket.expect_close().await;
        assert_eq!(code, 1007, "{text}: {reason}");
        assert!(reason.starts_with("malformed frame: "), "{text}: {reason}");
        assert!(!reason.contains("struct") && !reason.contains("column"), "{text}: {reason}");
    }
}

#[tokio::test]
async fn a_binary_frame_closes_the_connection() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    socket.send_binary(b"\0\x02\x01\x06\x0411" as &[u8]).await;
    let (code, reason) = socket.expect_close().await;
    assert!(code == 1007 || code == 1003, "{code} {reason}");
}
