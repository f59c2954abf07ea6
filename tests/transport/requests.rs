//! Requests over HTTP: for whom they are, what may be asked, and how long a connection waits
//! for the next.

use std::time::Duration;

use millrace_tests::{App, HttpRequest, PATIENCE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[tokio::test]
async fn a_request_is_for_one_host() {
    let server = App::probe().admin().serve();
    for (address, path) in [
        (server.address(), "/health"),
        (server.address(), "/"),
        (server.address(), "/socket/websocket"),
        (server.admin(), "/health"),
    ] {
        let request = HttpRequest::new("GET", path);
        for bad in [
            request.clone().without_host(),
            request.clone().header("Host", address).also("Host", address),
            request.clone().header("Host", "a b"),
            request.clone().header("Host", "me@127.0.0.1"),
            request.old().header("Host", address).also("Host", address),
        ] {
            let response = bad.send(address).await;
            assert_eq!(response.status, 400, "{bad:?} {response:?}");
            assert!(response.body.contains("Host"), "{response:?}");
        }
    }
    // HTTP/1.0 does without.
    let old = HttpRequest::new("GET", "/health").old().without_host();
    assert_eq!(old.send(server.address()).await.status, 200);
    // Whoever asks for a whole URL has said the host there.
    let url = format!("http://{}/health", server.address());
    let whole = HttpRequest::new("GET", &url).header("Host", "elsewhere.example");
    assert_eq!(whole.send(server.address()).await.status, 200);
    let rebound = HttpRequest::new("GET", "http://evil.example/").header("Host", "localhost");
    assert_eq!(rebound.send(server.address()).await.status, 403);
}

#[tokio::test]
async fn what_may_be_asked_is_told() {
    let server =
        App::probe().with("[admin]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nenabled = true").serve();
    for (path, allow) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, OPTIONS"),
        ("/dashboard/", "GET, HEAD, OPTIONS"),
        ("/socket/websocket", "GET, OPTIONS"),
        ("/dashboard/socket/websocket", "GET, OPTIONS"),
    ] {
        // As a load balancer asks, and as a browser does.
        let bare = HttpRequest::new("OPTIONS", path).old().without_host();
        for request in [bare, HttpRequest::new("OPTIONS", path)] {
            let response = request.send(server.address()).await;
            assert_eq!(response.status, 204, "{request:?} {response:?}");
            assert_eq!(response.header("allow"), Some(allow), "{request:?} {response:?}");
        }
    }
    for (method, path) in [("POST", "/"), ("TRACE", "/x"), ("DELETE", "/dashboard/")] {
        let request = HttpRequest::new(method, path).header("Content-Length", "0");
        let response = request.send(server.address()).await;
        assert_eq!(response.status, 405, "{method} {path}: {response:?}");
        assert_eq!(response.header("allow"), Some("GET, HEAD, OPTIONS"), "{response:?}");
    }
    let options = HttpRequest::new("OPTIONS", "/plugins/probe/swap").send(server.admin()).await;
    assert_eq!((options.status, options.header("allow")), (204, Some("POST, OPTIONS")));
    let head = HttpRequest::new("HEAD", "/plugins").send(server.admin()).await;
    assert_eq!(head.status, 200, "{head:?}");
}

/// A connection over which a request was answered.
async fn answered(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    ask(&mut stream).await;
    stream
}

async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let (mut answer, mut piece) = (Vec::new(), [0; 1024]);
    while !answer.ends_with(b"ok\n") {
        let read = timeout(PATIENCE, stream.read(&mut piece)).await.expect("an answer").unwrap();
        assert!(read > 0, "it was closed after {}", answer.escape_ascii());
        answer.extend_from_slice(&piece[..read]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
}

async fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(end.is_ok() && rest.is_empty(), "{end:?} {}", rest.escape_ascii());
}

#[tokio::test]
async fn a_proxy_may_keep_a_connection_for_longer_than_a_first_request_takes() {
    let server = App::probe().with("[socket]\nhandshake_timeout_ms = 500").serve();
    let mut kept = answered(server.address()).await;
    // Opened later, and closed already.
    expect_end(&mut TcpStream::connect(server.address()).await.unwrap()).await;
    ask(&mut kept).await;
}

#[tokio::test]
async fn a_connection_is_not_kept_without_end() {
    let limits = "handshake_timeout_ms = 100\nkeep_alive_timeout_ms = 300";
    let server = App::probe().with(&format!("[socket]\n{limits}")).serve();
    let mut kept = answered(server.address()).await;
    let since = std::time::Instant::now();
    expect_end(&mut kept).await;
    assert!(since.elapsed() > Duration::from_millis(200), "after {:?}", since.elapsed());
}
