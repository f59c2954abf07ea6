//! What there is only so much of, and requests that make no sense.

use millrace_tests::{App, HttpRequest, PATIENCE, eventually};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ask, assert_problem};

#[tokio::test]
async fn what_makes_no_sense_is_told_what_does() {
    let server = App::slow().admin().serve();
    let post = |body| HttpRequest::new("POST", "/disconnect").body("application/json", body);
    let plain = HttpRequest::new("POST", "/disconnect").body("text/plain", "{\"user\":\"a\"}");
    let get = |path| HttpRequest::new("GET", path);
    for (request, status, parts) in [
        (get("/nothing"), 404, &["/nothing", "/openapi.json"][..]),
        (get("/plugins/"), 404, &["/openapi.json"]),
        (get("/plugins/none"), 404, &["there is no plugin", "there are: slow"]),
        (get("/pipelines/none"), 404, &["there is no pipeline", "there is none"]),
        (get("/sockets/x"), 400, &["its number is expected"]),
        (get("/sockets/999"), 404, &["there is no connection 999"]),
        (get("/sockets?from=x"), 400, &["from is", "a whole number is expected"]),
        (get("/sockets?form=1"), 400, &["form", "\"allowed\":[\"user\",\"from\",\"max\"]"]),
        (get("/disconnect"), 405, &["POST is"]),
        (HttpRequest::new("DELETE", "/plugins/slow"), 405, &["GET is"]),
        (plain, 415, &["text/plain", "application/json is expected"]),
        (post("{"), 400, &["{\\\"user\\\": \\\"ada\\\"}"]),
        (post("{\"usr\":\"a\"}"), 400, &["unknown field `usr`"]),
        (post(&format!("\"{}\"", "x".repeat(65_536))), 413, &["more than 65536 bytes"]),
    ] {
        let response = request.send(server.admin()).await;
        assert_problem(&response, status, parts);
    }
    let allow = get("/disconnect").send(server.admin()).await;
    assert_eq!(allow.header("allow"), Some("POST"));
}

#[tokio::test]
async fn connections_have_a_bound_of_their_own() {
    let server = App::slow().admin().with("[admin]\nmax_connections = 1").serve();
    // It is answered, and stays open for another request.
    let mut first = TcpStream::connect(server.admin()).await.unwrap();
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", server.admin());
    first.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let second = HttpRequest::new("GET", "/health").send(server.admin()).await;
    assert_eq!((second.status, second.header("retry-after")), (503, Some("5")));
    // Clients have room.
    server.client().await.expect_nothing().await;
    drop(first);
    let is_in = async || (ask(&server, "GET", "/health", None).await.status == 200).then_some(());
    eventually("there is room again", is_in).await;
}

#[tokio::test]
async fn a_request_that_does_not_come_is_not_waited_for() {
    let server = App::slow().admin().with("[admin]\ntimeout_ms = 200").serve();
    for (sent, answer) in [
        ("GET /health HTTP/1.1\r\nHost: localhost\r\n", ""),
        (
            "POST /disconnect HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: 10\r\n\r\n{",
            "HTTP/1.1 408",
        ),
    ] {
        let mut slow = TcpStream::connect(server.admin()).await.unwrap();
        slow.write_all(sent.as_bytes()).await.unwrap();
        let mut all = String::new();
        let read = timeout(PATIENCE, slow.read_to_string(&mut all));
        read.await.expect("the server does not wait").unwrap();
        assert!(all.starts_with(answer), "{all:?}");
    }
    let closed = ask(&server, "POST", "/disconnect", Some(json!({ "user": "nobody" }))).await;
    assert_eq!(closed.json(), json!({ "closed": 0 }));
}
