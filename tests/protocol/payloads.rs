//! Payloads that are JSON and yet refused by many parsers: nobody but their sender hears of
//! them.

use millrace_tests::{TestClient, TestServer};
use serde_json::{Value, json};

const TOPIC: &str = "room:payloads";

/// Sends an event with this text as its payload; its ref.
async fn push(client: &mut TestClient, event: &str, payload: &str) -> String {
    let (join_ref, reference) = (client.join_ref(TOPIC), client.next_ref());
    let text = format!(r#"["{join_ref}","{reference}","{TOPIC}","{event}",{payload}]"#);
    client.socket.send_text(&text).await;
    reference
}

/// The answer to an event, which is an error; its reason.
async fn reason(client: &mut TestClient, reference: &str) -> String {
    let reply = client.socket.recv_json().await;
    assert_eq!((&reply[1], &reply[4]["status"]), (&json!(reference), &json!("error")), "{reply}");
    reply[4]["response"]["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_sender_is_told_and_nobody_else_is_hurt() {
    let server = TestServer::shared();
    let (mut sender, mut other) = (server.client().await, server.client().await);
    sender.join(TOPIC).await;
    other.join(TOPIC).await;
    for (payload, problem) in [
        (r#"{"body":"\ud83d"}"#, r"\ud83d at byte"),
        (r#"{"body":"\ude00\ud83d"}"#, r"\ude00 at byte"),
        (r#"{"body":"\uD83D\n"}"#, r"\uD83D at byte"),
        (r#"{"\udead":[]}"#, r"\udead at byte"),
        (r#"{"n":1e999}"#, "beyond"),
        (r#"[-123e400]"#, "beyond"),
    ] {
        for event in ["shout", "ping"] {
            let reference = push(&mut sender, event, payload).await;
            let reason = reason(&mut sender, &reference).await;
            assert!(reason.starts_with("invalid payload: "), "{payload}: {reason}");
            assert!(reason.contains(problem), "{payload}: {reason}");
        }
        other.expect_nothing_from(TOPIC).await;
    }
    // What everybody reads goes through as it is.
    for payload in [r#"{"body":"\ud83d\ude00"}"#, r#"{"n":[1e308,18446744073709551617,1e-999]}"#] {
        let reference = push(&mut sender, "ping", payload).await;
        let expected: Value = serde_json::from_str(payload).unwrap();
        sender.expect_reply(TOPIC, &reference, "ok", expected).await;
    }
    let left = push(&mut sender, "phx_leave", r#"{"body":"\ud83d"}"#).await;
    sender.expect_reply(TOPIC, &left, "ok", json!({})).await;
}

#[tokio::test]
async fn so_it_is_in_version_1() {
    let server = TestServer::shared();
    let mut socket = server.v1_socket().await;
    let text = r#"{"topic":"room:p","event":"phx_join","payload":{"a":"\ud83d"},"ref":"1"}"#;
    socket.send_text(text).await;
    let reply = socket.recv_json().await;
    let found = (&reply["ref"], &reply["payload"]["status"]);
    assert_eq!(found, (&json!("1"), &json!("error")), "{reply}");
}
