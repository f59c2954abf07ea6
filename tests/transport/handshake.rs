//! How the server answers a request for its WebSocket.

use millrace_tests::{App, HttpRequest, PATIENCE, RawSocket, TestServer, TestSocket, opcode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends a request and checks the status of the answer.
async fn check(request: HttpRequest, status: u16) {
    let server = TestServer::shared();
    let response = request.send(server.address()).await;
    assert_eq!(response.status, status, "{request:?} {response:?}");
    if status == 403 {
        let told = ["1.0.x and 2.0.x are spoken\n", "is not base64 of UTF-8\n"];
        let is_told = told.iter().any(|told| response.body.ends_with(told));
        assert!(is_told, "{request:?} {response:?}");
    }
}

fn upgrade() -> HttpRequest {
    HttpRequest::upgrade("/socket/websocket?vsn=2.0.0")
}

#[tokio::test]
async fn a_handshake_is_answered_as_rfc_6455_asks() {
    let server = TestServer::shared();
    let response = upgrade().send(server.address()).await;
    assert_eq!(response.status, 101, "{response:?}");
    // The key and its answer in section 1.3.
    let accept = response.header("sec-websocket-accept");
    assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{response:?}");
    let upgrade = response.header("upgrade").map(str::to_ascii_lowercase);
    assert_eq!(upgrade.as_deref(), Some("websocket"), "{response:?}");
    assert_eq!(response.header("sec-websocket-protocol"), None, "{response:?}");
    assert_eq!(response.header("sec-websocket-extensions"), None, "{response:?}");
}

#[tokio::test]
async fn header_names_and_values_may_be_written_as_one_likes() {
    let request = upgrade()
        .without("Connection")
        .header("CONNECTION", "keep-alive, upgrade")
        .header("upgrade", "WebSocket");
    check(request, 101).await;
}

#[tokio::test]
async fn the_version_is_one_of_two() {
    for (query, status) in [
        ("", 101),
        ("?vsn=1.0.0", 101),
        ("?vsn=1.0.9", 101),
        ("?vsn=2.0.0", 101),
        ("?vsn=2.0.9", 101),
        ("?a=b&vsn=2.0.0&c", 101),
        ("?user[name]=a&vsn=2.0.0", 101),
        ("?vsn=0.9.0", 403),
        ("?vsn=1.1.0", 403),
        ("?vsn=2.1.0", 403),
        ("?vsn=3.0.0", 403),
        ("?vsn=123.1.1", 403),
        ("?vsn=2", 403),
        ("?vsn=2.0", 403),
        ("?vsn=garbage", 403),
        ("?vsn=", 403),
        ("?vsn", 403),
        ("?vsn[]=1", 403),
        ("?vsn[]=2.0.0", 403),
        ("?vsn[a]=2.0.0", 403),
    ] {
        check(HttpRequest::upgrade(&format!("/socket/websocket{query}")), status).await;
    }
}

#[tokio::test]
async fn only_a_get_can_be_upgraded() {
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        check(upgrade().method(method).header("Content-Length", "0"), 400).await;
    }
}

#[tokio::test]
async fn a_request_that_asks_for_no_websocket_is_told_what_to_ask_for() {
    let server = TestServer::shared();
    for request in [
        HttpRequest::new("GET", "/socket/websocket?vsn=2.0.0"),
        HttpRequest::new("HEAD", "/socket/websocket?vsn=2.0.0"),
        upgrade().without("Upgrade"),
        upgrade().without("Connection"),
        upgrade().without("Sec-WebSocket-Version"),
        upgrade().header("Upgrade", "h2c"),
        upgrade().old(),
    ] {
        let response = request.send(server.address()).await;
        assert_eq!(response.status, 426, "{request:?} {response:?}");
        assert_eq!(response.header("upgrade"), Some("websocket"), "{request:?} {response:?}");
        assert_eq!(response.header("connection"), Some("Upgrade"), "{request:?} {response:?}");
        assert_eq!(response.header("sec-websocket-version"), Some("13"), "{request:?}");
    }
    for version in ["0", "8", "12", "14", "99", "13a", ""] {
        let request = upgrade().header("Sec-WebSocket-Version", version);
        let response = request.send(server.address()).await;
        assert_eq!(response.status, 426, "{version}: {response:?}");
        assert_eq!(response.header("sec-websocket-version"), Some("13"), "{version}");
    }
    check(upgrade().without("Sec-WebSocket-Key"), 400).await;
    check(upgrade().also("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400).await;
}

#[tokio::test]
async fn headers_are_lists_on_as_many_lines_as_one_likes() {
    for request in [
        upgrade().header("Upgrade", "h2c, websocket"),
        upgrade().header("Upgrade", "h2c").also("Upgrade", "WebSocket"),
        upgrade().header("Connection", "keep-alive").also("Connection", "Upgrade"),
        upgrade().header("Connection", " , keep-alive,Upgrade ,"),
        upgrade().header("Connection", "keep-alive Upgrade"),
        upgrade().also("Sec-WebSocket-Version", "13"),
        upgrade().header("Sec-WebSocket-Version", "8, 13"),
    ] {
        check(request, 101).await;
    }
    let server = TestServer::shared();
    let split = upgrade()
        .also("Sec-WebSocket-Protocol", "base64url.bearer.phx.MTIzNA")
        .also("Sec-WebSocket-Protocol", "phoenix");
    let response = split.send(server.address()).await;
    assert_eq!(response.header("sec-websocket-protocol"), Some("phoenix"), "{response:?}");
}

#[tokio::test]
async fn a_path_may_have_slashes_to_spare() {
    for path in [
        "/socket//websocket",
        "/socket/websocket/",
        "//socket/websocket",
        "//socket///websocket//?vsn=2.0.0",
    ] {
        check(HttpRequest::upgrade(path), 101).await;
    }
    for path in ["/health/", "//ready"] {
        check(HttpRequest::new("GET", path), 200).await;
    }
}

#[tokio::test]
async fn the_first_subprotocol_that_both_know_is_named() {
    let server = App::probe().with("[socket]\nsubprotocols = [\"chat.v1\", \"chat.v2\"]").serve();
    for (offered, named) in [
        ("chat.v2, chat.v1", Some("chat.v2")),
        ("phoenix, chat.v1", Some("phoenix")),
        ("other, chat.v1", Some("chat.v1")),
        ("base64url.bearer.phx.MTIzNA, chat.v1", Some("chat.v1")),
        // A client that cannot do without one sees that there is none.
        ("other", None),
    ] {
        let request = upgrade().header("Sec-WebSocket-Protocol", offered);
        let response = request.send(server.address()).await;
        assert_eq!(response.status, 101, "{offered}: {response:?}");
        assert_eq!(response.header("sec-websocket-protocol"), named, "{offered}: {response:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    for path in ["/nowhere", "/socket", "/socket/websockets", "/socket/websocket/more", "/"] {
        check(HttpRequest::new("GET", path), 404).await;
        check(HttpRequest::upgrade(path), 404).await;
    }
}

#[tokio::test]
async fn the_socket_can_be_mounted_elsewhere() {
    let server = App::probe().with("[socket]\npath = \"/live/socket\"").serve();
    let mut socket =
        TestSocket::connect(server.address(), "/live/socket/websocket?vsn=2.0.0").await;
    socket.send_json(&json!([null, "1", "phoenix", "heartbeat", {}])).await;
    let ok = json!({ "status": "ok", "response": {} });
    socket.expect(json!([null, "1", "phoenix", "phx_reply", ok])).await;
    let response = upgrade().send(server.address()).await;
    assert_eq!(response.status, 404, "{response:?}");
}

#[tokio::test]
async fn a_token_may_come_as_a_subprotocol() {
    let server = TestServer::shared();
    // "1234", and bytes whose base64 differs between the two alphabets: `~~??`.
    for token in ["MTIzNA", "fn4/Pw", "fn4_Pw", "MTIzNA=="] {
        let protocols = format!("phoenix, base64url.bearer.phx.{token}");
        let request = upgrade().header("Sec-WebSocket-Protocol", &protocols);
        let response = request.send(server.address()).await;
        assert_eq!(response.status, 101, "{protocols}: {response:?}");
        let protocol = response.header("sec-websocket-protocol");
        assert_eq!(protocol, Some("phoenix"), "{protocols}: {response:?}");
    }
    let broken = "phoenix, base64url.bearer.phx.&&&";
    check(upgrade().header("Sec-WebSocket-Protocol", broken), 403).await;
}

#[tokio::test]
async fn a_frame_right_behind_the_request_is_not_lost() {
    let server = TestServer::shared();
    let heartbeat = br#"[null,"1","phoenix","heartbeat",{}]"#;
    let request = upgrade().behind(&RawSocket::frame(opcode::TEXT, heartbeat));
    let mut socket = RawSocket::open(server.address(), &request).await;
    socket.expect_heartbeat("1").await;
}

#[tokio::test]
async fn garbage_instead_of_a_request_harms_nobody() {
    let server = TestServer::shared();
    let tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice();
    for garbage in [tls, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut answer = Vec::new();
        timeout(PATIENCE, tcp.read_to_end(&mut answer))
            .await
            .expect("the connection ends")
            .unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    server.client().await.expect_nothing().await;
}
