//! WebSocket frames, whole and in pieces.

use millrace_tests::{RawSocket, TestServer, opcode};

async fn connect(server: &TestServer) -> RawSocket {
    RawSocket::connect(server.address()).await
}

#[tokio::test]
async fn a_message_may_come_in_fragments() {
    let server = TestServer::shared();
    let mut socket = connect(&server).await;
    socket.send_part(opcode::TEXT, br#"[null,"1","pho"#).await;
    socket.send_part(opcode::CONTINUATION, b"").await;
    // Control frames may come in between.
    socket.send(opcode::PING, b"between").await;
    socket.send_part(opcode::CONTINUATION, br#"enix","heart"#).await;
    socket.send(opcode::CONTINUATION, br#"beat",{}]"#).await;
    socket.expect(opcode::PONG, b"between").await;
    socket.expect_heartbeat("1").await;
}

#[tokio::test]
async fn a_character_may_be_split_between_fragments() {
    let server = TestServer::shared();
    let mut socket = connect(&server).await;
    let heartbeat = r#"[null,"🌍","phoenix","heartbeat",{}]"#.as_bytes();
    let (first, second) = heartbeat.split_at(9);
    socket.send_part(opcode::TEXT, first).await;
    socket.send(opcode::CONTINUATION, second).await;
    socket.expect_heartbeat("🌍").await;
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte() {
    let server = TestServer::shared();
    let mut socket = connect(&server).await;
    let heartbeat = br#"[null,"1","phoenix","heartbeat",{}]"#;
    for byte in RawSocket::frame(opcode::TEXT, heartbeat) {
        socket.send_bytes(&[byte]).await;
    }
    socket.expect_heartbeat("1").await;
}

#[tokio::test]
async fn many_frames_may_come_at_once() {
    let server = TestServer::shared();
    let mut socket = connect(&server).await;
    let mut frames = Vec::new();
    for n in 0..100 {
        let heartbeat = format!(r#"[null,"{n}","phoenix","heartbeat",{{}}]"#);
        frames.extend(RawSocket::frame(opcode::TEXT, heartbeat.as_bytes()));
    }
    socket.send_bytes(&frames).await;
    for n in 0..100 {
        socket.expect_heartbeat(&n.to_string()).await;
    }
}

#[tokio::test]
async fn a_ping_is_answered_with_its_payload() {
    let server = TestServer::shared();
    let mut socket = connect(&server).await;
    for payload in [b"" as &[u8], b"are you there?", &[0xff; 125]] {
        socket.send(opcode::PING, payload).await;
        socket.expect(opcode::PONG, payload).await;
    }
    // A pong nobody asked for is no question.
    socket.send(opcode::PONG, b"unasked").await;
    socket.send(opcode::PING, b"next").await;
    socket.expect(opcode::PONG, b"next").await;
}

/// Breaks the WebSocket protocol with one frame; the server closes with `code`.
async fn check_refused(server: &TestServer, what: &str, bytes: &[u8], code: u16) {
    let mut socket = connect(server).await;
    socket.send_bytes(bytes).await;
    let (found, reason) = socket.expect_close().await;
    assert_eq!(found, code, "{what}: {reason}");
    socket.expect_end().await;
}

#[tokio::test]
async fn frames_against_the_websocket_protocol_close_the_connection() {
    let server = TestServer::shared();
    let masked = |head: u8, payload: &[u8]| {
        let mut frame = RawSocket::frame(0, payload);
        frame[0] = head;
        frame
    };
    for (what, frame) in [
        ("a frame that is not masked", b"\x81\x02[]".to_vec()),
        ("a reserved bit", masked(0xc1, b"[]")),
        ("a reserved opcode", masked(0x83, b"[]")),
        ("a reserved control opcode", masked(0x8b, b"")),
        ("a continuation of nothing", masked(0x80, b"[]")),
        ("a ping in fragments", masked(0x09, b"")),
        ("a ping of 126 bytes", masked(0x89, &[b'x'; 126])),
        ("a close frame of one byte", masked(0x88, b"\x03")),
    ] {
        check_refused(&server, what, &frame, 1002).await;
    }
    let two_starts = [masked(0x01, b"["), masked(0x81, b"[]")].concat();
    check_refused(&server, "a message inside another", &two_starts, 1002).await;
}

#[tokio::test]
async fn text_that_is_not_utf_8_closes_the_connection() {
    let server = TestServer::shared();
    for text in [b"\xff" as &[u8], b"[null,\"\xc3\x28\"]", b"\xed\xa0\x80", b"\xf4\x90\x80\x80"] {
        let frame = RawSocket::frame(opcode::TEXT, text);
        check_refused(&server, &text.escape_ascii().to_string(), &frame, 1007).await;
    }
    // The end of a message is the end of its characters.
    check_refused(&server, "half a character", &RawSocket::frame(opcode::TEXT, b"\xf0\x9f"), 1007)
        .await;
}
