//! Limits of one connection.

use millrace_tests::{
    App, HttpRequest, RawSocket, TestClient, TestServer, TestSocket, eventually, opcode,
};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::client_async;

fn small_frames() -> TestServer {
    App::probe().with("[socket]\nmax_frame_bytes = 1000").serve()
}

/// A heartbeat of exactly `len` bytes.
fn heartbeat(len: usize) -> String {
    let bare = r#"[null,"1","phoenix","heartbeat",""]"#;
    bare.replace(r#","""#, &format!(r#","{}""#, "x".repeat(len - bare.len())))
}

#[tokio::test]
async fn a_message_of_the_limit_is_taken_and_a_larger_one_closes_the_connection() {
    let server = small_frames();
    let mut client = server.client().await;
    client.socket.send_text(heartbeat(1_000)).await;
    client.expect_heartbeat("1").await;
    client.socket.send_text(heartbeat(1_001)).await;
    let (code, reason) = client.socket.expect_close().await;
    assert_eq!(code, 1009, "{reason}");
}

#[tokio::test]
async fn fragments_count_together() {
    let server = small_frames();
    let mut socket = RawSocket::connect(server.address()).await;
    socket.send_part(opcode::TEXT, &[b'x'; 600]).await;
    socket.send_part(opcode::CONTINUATION, &[b'x'; 600]).await;
    let (code, reason) = socket.expect_close().await;
    assert_eq!(code, 1009, "{reason}");
}

#[tokio::test]
async fn a_message_that_will_be_too_large_is_not_waited_for() {
    let server = TestServer::shared();
    for announced in [10_000_001, u64::from(u32::MAX), i64::MAX.unsigned_abs()] {
        let mut socket = RawSocket::connect(server.address()).await;
        socket.announce(opcode::BINARY, announced).await;
        let (code, reason) = socket.expect_close().await;
        assert_eq!(code, 1009, "{announced}: {reason}");
    }
    server.client().await.expect_nothing().await;
}

#[tokio::test]
async fn the_number_of_topics_is_a_setting() {
    let server = App::probe().with("[socket]\nmax_channels = 1").serve();
    let mut client = server.client().await;
    client.join("room:one").await;
    let join = client.send_join("room:two", json!({})).await;
    let refused = json!({ "reason": "too many channels joined" });
    client.expect_reply("room:two", &join, "error", refused).await;
    // Each connection has its own count.
    server.client().await.join("room:two").await;
}

#[tokio::test]
async fn the_number_of_connections_is_a_setting() {
    let server = App::probe().with("[socket]\nmax_connections = 2").serve();
    let mut first = server.client().await;
    let mut second = RawSocket::connect(server.address()).await;
    let third = HttpRequest::upgrade("/socket/websocket").send(server.address()).await;
    assert_eq!((third.status, third.header("retry-after")), (503, Some("5")));
    assert_eq!(third.body, "too many connections\n");
    first.expect_nothing().await;

    // One that ends makes place for another.
    second.send(opcode::CLOSE, &1000u16.to_be_bytes()).await;
    second.expect_close().await;
    second.expect_end().await;
    let url = format!("ws://{}/socket/websocket", server.address());
    let another = async || {
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        client_async(&url, tcp).await.ok()
    };
    eventually("there is place for another", another).await;
}

/// A client whose end of the connection takes little that it does not read.
async fn connect_small(address: &str) -> TestClient {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(65_536).unwrap();
    let tcp = tcp.connect(address.parse().unwrap()).await.unwrap();
    TestClient::over(TestSocket::over(tcp, "/socket/websocket?vsn=2.0.0").await)
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed() {
    let server = App::probe().with("[socket]\noutbox_bytes = 500_000").serve();
    let mut deaf = connect_small(server.address()).await;
    let mut speaker = server.client().await;
    deaf.join("room:flood").await;
    speaker.join("room:flood").await;
    // Far more than a connection holds, and quickly, for a client that still does
    // not read is not told for long why it is closed.
    let payload = json!({ "text": "x".repeat(200_000) });
    let mut shouts = Vec::new();
    for _ in 0..100 {
        shouts.push(speaker.push("room:flood", "shout_others", payload.clone()).await);
    }
    for shout in &shouts {
        speaker.expect_reply("room:flood", shout, "ok", json!({})).await;
    }
    let (heard, code, reason) = deaf.socket.recv_until_close().await;
    assert_eq!(code, 1013, "{reason}");
    // What it had been sent until then came without a gap.
    let broadcast = json!([null, null, "room:flood", "shout_others", payload]);
    assert!(heard.len() < shouts.len(), "it heard every broadcast although it did not read");
    for message in heard {
        let message: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert!(message == broadcast, "{message}");
    }
    // The one who reads is served as before.
    speaker.expect_nothing_from("room:flood").await;
}
