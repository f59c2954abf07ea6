//! How connections end, and the server.

use std::time::Instant;

use millrace_tests::{App, PATIENCE, RawSocket, TestServer, TestSocket, free_port, opcode};
use serde_json::json;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_clients_close_is_echoed() {
    let server = TestServer::shared();
    for code in [1000u16, 1001, 1008, 1012, 1013, 1014, 3000, 4001, 4999] {
        let mut socket = RawSocket::connect(server.address()).await;
        socket.send(opcode::CLOSE, &[&code.to_be_bytes()[..], b"bye"].concat()).await;
        let (found, _) = socket.expect_close().await;
        assert_eq!(found, code);
        socket.expect_end().await;
    }
    let mut socket = RawSocket::connect(server.address()).await;
    socket.send(opcode::CLOSE, b"").await;
    let (head, _) = socket.recv().await;
    assert_eq!(head, 0x80 | opcode::CLOSE);
    socket.expect_end().await;
}

#[tokio::test]
async fn a_code_that_nobody_may_send_is_a_protocol_error() {
    let server = TestServer::shared();
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999] {
        let mut socket = RawSocket::connect(server.address()).await;
        socket.send(opcode::CLOSE, &code.to_be_bytes()).await;
        let (found, _) = socket.expect_close().await;
        assert_eq!(found, 1002, "{code}");
    }
}

#[tokio::test]
async fn who_says_no_more_hears_what_was_asked_for() {
    let server = TestServer::shared();
    let check = async |event: &str| {
        let mut socket = RawSocket::connect(server.address()).await;
        socket.send(opcode::TEXT, br#"["1","1","room:half-closed","phx_join",{}]"#).await;
        let _ = socket.recv().await;
        let push = format!(r#"["1","2","room:half-closed","{event}",{{"ms":300}}]"#);
        socket.send(opcode::TEXT, push.as_bytes()).await;
        socket.say_no_more().await;
        let reply =
            br#"["1","2","room:half-closed","phx_reply",{"status":"ok","response":{"ms":300}}]"#;
        socket.expect(opcode::TEXT, reply).await;
        socket.expect_end().await;
    };
    tokio::join!(check("ping"), check("slow_ping"), check("parallel_slow_ping"));
}

#[tokio::test]
async fn who_closes_has_left_the_topic() {
    let server = TestServer::shared();
    let mut leaver = RawSocket::connect(server.address()).await;
    leaver.send(opcode::TEXT, br#"["11","1","room:closer","phx_join",{}]"#).await;
    let _ = leaver.recv().await;
    leaver.send(opcode::CLOSE, &1000u16.to_be_bytes()).await;
    leaver.expect_close().await;
    leaver.expect_end().await;
    let mut witness = server.client().await;
    witness.join("room:closer").await;
    let shout = witness.push("room:closer", "shout", json!({})).await;
    witness.expect_broadcast("room:closer", "shout", json!({})).await;
    witness.expect_reply("room:closer", &shout, "ok", json!({})).await;
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_says_so_to_all_and_ends_well() {
    let server = App::probe().with("[drain]\nover_ms = 0").serve();
    let mut joined = server.client().await;
    joined.join("room:stopping").await;
    // It counts as much as one that has joined something.
    let mut idle = server.client().await;
    idle.expect_nothing().await;
    let mut old = TestSocket::connect(server.address(), "/socket/websocket").await;
    server.tell_to_stop();
    for socket in [&mut joined.socket, &mut idle.socket, &mut old] {
        let (code, reason) = socket.expect_close().await;
        assert_eq!(code, 1012, "{reason}");
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn a_server_without_clients_stops_at_once() {
    let server = App::probe().serve();
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_client_that_does_not_answer_cannot_keep_the_server() {
    let server = App::probe().serve();
    let mut mute = RawSocket::connect(server.address()).await;
    mute.send(opcode::TEXT, br#"[null,"1","phoenix","heartbeat",{}]"#).await;
    mute.expect_heartbeat("1").await;
    assert_eq!(server.terminate().code(), Some(0));
    let (code, reason) = mute.expect_close().await;
    assert_eq!(code, 1012, "{reason}");
}

#[tokio::test]
async fn a_silent_connection_cannot_keep_the_server() {
    let server = App::probe().serve();
    let silent = TcpStream::connect(server.address()).await.unwrap();
    // Accepted in order: once this one is served, the silent one is known.
    server.client().await.expect_nothing().await;
    let begin = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(begin.elapsed() < PATIENCE / 2, "after {:?}", begin.elapsed());
    drop(silent);
}

#[tokio::test]
async fn a_port_can_be_used_again_at_once() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = App::probe().with("[drain]\nover_ms = 0").listen(&address).serve();
    let mut client = server.client().await;
    client.join("room:again").await;
    server.tell_to_stop();
    assert_eq!(client.socket.expect_close().await.0, 1012);
    assert_eq!(server.wait().code(), Some(0));
    let server = App::probe().listen(&address).serve();
    assert_eq!(server.address(), address);
    server.client().await.join("room:again").await;
}
