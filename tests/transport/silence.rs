//! Connections that say nothing, or only half of it.

use std::time::{Duration, Instant};

use millrace_tests::{App, PATIENCE, RawSocket, TestServer, opcode};
use rustix::process::{Resource, getrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// How long a client may be silent where silence is awaited.
const SHORT: Duration = Duration::from_millis(300);
/// The same where it is not: a machine under load must not be taken for silent.
const LONG: Duration = Duration::from_secs(1);

fn impatient(idle: Duration) -> TestServer {
    let ms = idle.as_millis();
    App::probe()
        .with(&format!("[socket]\nidle_timeout_ms = {ms}\nhandshake_timeout_ms = {ms}"))
        .serve()
}

#[tokio::test]
async fn who_says_nothing_is_closed() {
    let server = impatient(SHORT);
    let begin = Instant::now();
    let mut client = server.client().await;
    let (code, reason) = client.socket.expect_close().await;
    assert_eq!(code, 1002, "{reason}");
    assert!(begin.elapsed() >= SHORT, "after {:?}", begin.elapsed());
}

#[tokio::test]
async fn hearing_is_not_saying() {
    let server = impatient(LONG);
    let (mut listener, mut speaker) = (server.client().await, server.client().await);
    listener.join("room:idle").await;
    speaker.join("room:idle").await;
    let begin = Instant::now();
    while begin.elapsed() < LONG * 2 {
        let shout = speaker.push("room:idle", "shout_others", json!({})).await;
        speaker.expect_reply("room:idle", &shout, "ok", json!({})).await;
    }
    // Who speaks is still there; who only listens has been closed.
    speaker.expect_nothing().await;
    let (heard, code, reason) = listener.socket.recv_until_close().await;
    assert_eq!(code, 1002, "{reason}");
    assert!(!heard.is_empty());
}

#[tokio::test]
async fn any_frame_counts_as_a_sign_of_life() {
    let server = impatient(LONG);
    let mut socket = RawSocket::connect(server.address()).await;
    let begin = Instant::now();
    while begin.elapsed() < LONG * 2 {
        socket.send(opcode::PING, b"here").await;
        socket.expect(opcode::PONG, b"here").await;
    }
    socket.send(opcode::TEXT, br#"[null,"1","phoenix","heartbeat",{}]"#).await;
    socket.expect_heartbeat("1").await;
}

#[tokio::test]
async fn half_a_request_is_not_waited_for_without_end() {
    let server = impatient(SHORT);
    for half in [b"" as &[u8], b"GET /socket/websocket HTTP/1.1\r\nHost: "] {
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.write_all(half).await.unwrap();
        let mut answer = Vec::new();
        let end = timeout(PATIENCE, tcp.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "{:?} keeps a connection open", half.escape_ascii());
    }
}

#[tokio::test]
async fn half_a_request_is_counted() {
    let statsd = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = App::probe()
        .with("[socket]\nhandshake_timeout_ms = 300")
        .statsd(&statsd.local_addr().unwrap().to_string())
        .serve();
    let mut tcp = TcpStream::connect(server.address()).await.unwrap();
    tcp.write_all(b"GET /health HTTP/1.1\r\nHost: ").await.unwrap();
    let counted = async {
        let mut buffer = vec![0; 65_536];
        loop {
            let length = statsd.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.contains("request.cut_off.head:1|c") {
                break;
            }
        }
    };
    timeout(PATIENCE, counted).await.expect("it is counted");
}

#[tokio::test]
async fn half_a_frame_and_a_lost_connection_harm_nobody() {
    let server = TestServer::shared();
    let mut witness = server.client().await;
    witness.join("room:half").await;
    let ping = br#"["11","2","room:half","ping",{}]"#;
    let frame = RawSocket::frame(opcode::TEXT, ping);
    for cut in [1, 3, 6, 14, frame.len() - 1] {
        let mut socket = RawSocket::connect(server.address()).await;
        socket.send(opcode::TEXT, br#"["11","1","room:half","phx_join",{}]"#).await;
        let (_, answer) = socket.recv().await;
        assert!(answer.ends_with(b"]"), "{}", answer.escape_ascii());
        socket.send_bytes(&frame[..cut]).await;
        drop(socket);
        let shout = witness.push("room:half", "shout", json!({ "cut": cut })).await;
        witness.expect_broadcast("room:half", "shout", json!({ "cut": cut })).await;
        witness.expect_reply("room:half", &shout, "ok", json!({})).await;
    }
    witness.expect_nothing_from("room:half").await;
}

#[tokio::test]
async fn two_thousand_silent_connections_do_not_hold_up_one_that_speaks() {
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let wanted = 2_000u64.min(allowed.saturating_sub(200));
    assert!(wanted >= 500, "this test needs more open files than {allowed}: see `ulimit -n`");
    let server = App::probe().serve();
    let mut client = server.client().await;
    client.join("room:crowd").await;
    let mut silent = Vec::new();
    for _ in 0..wanted {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
    }
    client.expect_nothing_from("room:crowd").await;
    let mut late = server.client().await;
    late.join("room:crowd").await;
    let shout = client.push("room:crowd", "shout", json!({})).await;
    client.expect_broadcast("room:crowd", "shout", json!({})).await;
    client.expect_reply("room:crowd", &shout, "ok", json!({})).await;
    late.expect_broadcast("room:crowd", "shout", json!({})).await;
    drop(silent);
    late.expect_nothing_from("room:crowd").await;
}
