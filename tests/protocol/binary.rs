//! Binary frames of version 2, byte by byte.
//!
//! ```text
//! client → server push       0 | join_ref ref topic event  lengths | the same | payload
//! server → client push       0 | join_ref topic event      lengths | the same | payload
//! server → client reply      1 | join_ref ref topic status lengths | the same | payload
//! server → client broadcast  2 | topic event               lengths | the same | payload
//! ```

use millrace_tests::{App, TestClient, TestServer};
use serde_json::json;

/// Joins `room:b` with `join_ref` 11 and `ref` 1, so that frames can be written
/// out.
async fn joined(server: &TestServer) -> TestClient {
    let mut client = server.client().await;
    client.join("room:b").await;
    client
}

#[tokio::test]
async fn a_ping_of_bytes_is_answered_with_bytes() {
    let server = App::probe().serve();
    let mut client = joined(&server).await;
    client.socket.send_binary(b"\x00\x02\x03\x06\x0411123room:bping\xff\x00\xfe" as &[u8]).await;
    client.socket.expect_binary(b"\x01\x02\x03\x06\x0211123room:bok\xff\x00\xfe").await;
    // An empty payload is a payload.
    client.socket.send_binary(b"\x00\x02\x01\x06\x04112room:bping" as &[u8]).await;
    client.socket.expect_binary(b"\x01\x02\x01\x06\x02112room:bok").await;
}

#[tokio::test]
async fn an_error_of_bytes_has_its_status() {
    let server = App::probe().serve();
    let mut client = joined(&server).await;
    client.socket.send_binary(b"\x00\x02\x03\x06\x0411123room:bfailwhy" as &[u8]).await;
    client.socket.expect_binary(b"\x01\x02\x03\x06\x0511123room:berrorwhy").await;
}

#[tokio::test]
async fn a_push_of_bytes_has_no_ref() {
    let server = App::probe().serve();
    let mut client = joined(&server).await;
    client.socket.send_binary(b"\x00\x02\x03\x06\x0711123room:bpush_me\x01\x02" as &[u8]).await;
    client.socket.expect_binary(b"\x00\x02\x06\x0611room:bpushed\x01\x02").await;
    client.expect_reply("room:b", "123", "ok", json!({})).await;
}

#[tokio::test]
async fn a_broadcast_of_bytes_has_no_refs() {
    let server = App::probe().serve();
    let (mut alice, mut bob) = (joined(&server).await, joined(&server).await);
    alice.socket.send_binary(b"\x00\x02\x03\x06\x0511123room:bshout\x80\x81" as &[u8]).await;
    let broadcast = b"\x02\x06\x05room:bshout\x80\x81";
    alice.socket.expect_binary(broadcast).await;
    alice.expect_reply("room:b", "123", "ok", json!({})).await;
    bob.socket.expect_binary(broadcast).await;
    alice.expect_nothing_from("room:b").await;
    bob.expect_nothing_from("room:b").await;
}

#[tokio::test]
async fn names_are_measured_in_bytes_of_utf_8() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:grüße-世界";
    client.join(topic).await;
    let reference = client.push_binary(topic, "ping", "ü".as_bytes()).await;
    let expected = [b"\x01\x02\x01\x13\x02" as &[u8], b"11", reference.as_bytes()];
    let expected = [&expected.concat(), topic.as_bytes(), b"ok", "ü".as_bytes()].concat();
    client.socket.expect_binary(&expected).await;
}

#[tokio::test]
async fn a_topic_of_255_bytes_fits() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = format!("room:{}", "x".repeat(250));
    client.join(&topic).await;
    let reference = client.push_binary(&topic, "ping", b"!").await;
    let expected = [b"\x01\x02\x01\xff\x0211", reference.as_bytes(), topic.as_bytes(), b"ok!"];
    client.socket.expect_binary(&expected.concat()).await;
}

#[tokio::test]
async fn a_megabyte_of_bytes_comes_back() {
    let server = App::probe().serve();
    let mut client = joined(&server).await;
    let payload: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    client.socket.send_binary([b"\x00\x02\x01\x06\x04112room:bping", &*payload].concat()).await;
    client.socket.expect_binary(&[b"\x01\x02\x01\x06\x02112room:bok", &*payload].concat()).await;
}

#[tokio::test]
async fn a_binary_event_to_a_topic_that_is_not_joined_is_unmatched() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.socket.send_binary(b"\x00\x02\x01\x06\x04112room:bping" as &[u8]).await;
    client.expect_unmatched("room:b", "2").await;
}

#[tokio::test]
async fn a_binary_event_of_an_earlier_join_is_dropped() {
    let server = App::probe().serve();
    let mut client = joined(&server).await;
    client.socket.send_binary(b"\x00\x02\x01\x06\x04102room:bping" as &[u8]).await;
    client.expect_nothing_from("room:b").await;
}

#[tokio::test]
async fn frames_with_a_bad_header_close_the_connection() {
    let server = TestServer::shared();
    for frame in [
        b"" as &[u8],
        b"\x00",
        b"\x00\x02\x01\x06",
        // The lengths announce more than there is.
        b"\x00\x02\x01\x06\x0411",
        b"\x00\x02\x01\x06\x05112room:bping",
        b"\x00\xff\xff\xff\xff112room:bping",
        // Kinds that only a server sends, and kinds that are none.
        b"\x01\x02\x01\x06\x04112room:bping",
        b"\x02\x06\x04room:bping",
        b"\x03\x02\x01\x06\x04112room:bping",
        b"\xff\x02\x01\x06\x04112room:bping",
        // Names that are not UTF-8.
        b"\x00\x02\x01\x06\x0411\xffroom:bping",
        b"\x00\x02\x01\x06\x04112room:\xffping",
        b"\x00\x02\x01\x06\x04112room:bpin\xff",
    ] {
        let mut client = server.client().await;
        client.join("room:bad-header").await;
        client.socket.send_binary(frame).await;
        let (code, reason) = client.socket.expect_close().await;
        assert_eq!(code, 1007, "{}: {reason}", frame.escape_ascii());
        assert_ne!(reason, "", "{}", frame.escape_ascii());
    }
}
