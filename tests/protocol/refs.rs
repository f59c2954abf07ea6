//! Refs are the client's own: any JSON scalar comes back as it was sent.

use millrace_tests::{TestServer, TestSocket};
use serde_json::value::RawValue;

/// Sends one message and compares the refs in the answer, digit by digit.
async fn check_echo(socket: &mut TestSocket, topic: &str, event: &str, refs: (&str, &str)) {
    let (join_ref, reference) = refs;
    socket.send_text(format!(r#"[{join_ref},{reference},"{topic}","{event}",{{}}]"#)).await;
    let text = socket.recv_text().await;
    let answer: Vec<Box<RawValue>> = serde_json::from_str(&text).unwrap();
    let found = (canonical(answer[0].get()), canonical(answer[1].get()));
    assert_eq!(found, (canonical(join_ref), canonical(reference)), "{event}: {text}");
    assert!(text.contains(r#""ok""#), "{event}: {text}");
}

/// A string by what it says, for it may be escaped in more than one way; anything
/// else by how it is written.
fn canonical(json: &str) -> String {
    serde_json::from_str::<String>(json)
        .map_or_else(|_| json.to_owned(), |text| format!("{text:?}"))
}

#[tokio::test]
async fn refs_come_back_as_they_were_sent() {
    let server = TestServer::shared();
    let client = server.client().await;
    let mut socket = client.socket;
    for (n, scalar) in [
        r#""1""#,
        r#""""#,
        r#""a \"quoted\" \\ ref\n""#,
        r#""é 世界 🌍""#,
        r#""\ud83c\udf0d\u0000""#,
        "0",
        "-1",
        "4294967296",
        "123456789012345678901234567890",
        "1.0",
        "0.1",
        "1e3",
        "true",
        "false",
    ]
    .into_iter()
    .enumerate()
    {
        let topic = format!("room:refs-{n}");
        check_echo(&mut socket, &topic, "phx_join", (scalar, scalar)).await;
        check_echo(&mut socket, &topic, "ping", (scalar, r#""other""#)).await;
        check_echo(&mut socket, &topic, "ping", (scalar, scalar)).await;
        check_echo(&mut socket, "phoenix", "heartbeat", ("null", scalar)).await;
        check_echo(&mut socket, &topic, "phx_leave", (scalar, scalar)).await;
        check_close_of(&mut socket, scalar).await;
        check_echo(&mut socket, &topic, "phx_leave", (scalar, scalar)).await;
    }
}

/// A channel's close carries its `join_ref` twice.
async fn check_close_of(socket: &mut TestSocket, join_ref: &str) {
    let text = socket.recv_text().await;
    let close: Vec<Box<RawValue>> = serde_json::from_str(&text).unwrap();
    let found = (canonical(close[0].get()), canonical(close[1].get()));
    assert_eq!(found, (canonical(join_ref), canonical(join_ref)), "{text}");
    assert_eq!(close[3].get(), r#""phx_close""#, "{text}");
}

#[tokio::test]
async fn a_null_ref_is_answered_with_a_null_ref() {
    let server = TestServer::shared();
    let client = server.client().await;
    let mut socket = client.socket;
    check_echo(&mut socket, "phoenix", "heartbeat", ("null", "null")).await;
    check_echo(&mut socket, "room:null-ref", "phx_join", (r#""11""#, "null")).await;
    check_echo(&mut socket, "room:null-ref", "phx_leave", (r#""11""#, "null")).await;
}

#[tokio::test]
async fn refs_of_different_types_are_different_refs() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let socket = &mut client.socket;
    check_echo(socket, "room:ref-types", "phx_join", ("7", r#""1""#)).await;
    // "7" is not 7: an earlier join, whose messages are dropped.
    socket.send_text(r#"["7","2","room:ref-types","ping",{}]"#).await;
    check_echo(socket, "room:ref-types", "ping", ("7", "3")).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn the_ref_of_a_join_will_do_as_its_join_ref() {
    let server = TestServer::shared();
    let client = server.client().await;
    let mut socket = client.socket;
    // As the crate phyllo does it: `join_ref` 0 on every join, then the join's ref.
    check_echo(&mut socket, "room:refs-phyllo", "phx_join", ("0", "7")).await;
    socket.send_text(r#"[7,8,"room:refs-phyllo","ping",null]"#).await;
    let answer = socket.recv_json().await;
    assert_eq!(answer[1], 8, "{answer}");
    assert_eq!(answer[4]["status"], "ok", "{answer}");
}
