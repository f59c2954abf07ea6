//! Answers that are given before the body of a request was read: they arrive.

use std::time::Duration;

use millrace_tests::{App, HttpRequest, PATIENCE, TestServer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::{enqueued, until_letters};

/// How often it is looked whether a connection still is one.
const STEP: Duration = Duration::from_millis(20);
/// How often each is asked for: a reset is a race that mostly is lost.
const TIMES: usize = 8;

fn app(socket: &str) -> App {
    App::jobs().with(&format!(
        "[socket]\n{socket}\n[pipelines.jobs]\nworker = {{ plugin = \"jobs\" }}\n\
         http = {{ token = \"secret\", timeout_ms = 500 }}\n"
    ))
}

fn post(path: &str, bytes: usize) -> HttpRequest {
    HttpRequest::new("POST", path)
        .header("Authorization", "Bearer secret")
        .body("application/json", &" ".repeat(bytes))
}

#[tokio::test]
async fn an_answer_reaches_who_sends_first_and_reads_then() {
    let server = app("").serve();
    let events = "/pipelines/jobs/events";
    let no_token = post(events, 900_000).header("Authorization", "Bearer wrong");
    for (request, status) in [
        (post(events, 20_000_000), 413),
        (no_token, 401),
        (post("/pipelines/none/events", 20_000_000), 404),
        (post(events, 20_000_000).method("PUT"), 405),
        (post(events, 20_000_000).header("Content-Type", "text/plain"), 415),
        (post(events, 20_000_000).header("Content-Encoding", "zstd"), 415),
        (post("/health", 20_000_000), 200),
        (post(events, 0).header("X-Long", &"x".repeat(2_000_000)), 431),
    ] {
        for _ in 0..TIMES {
            let response = request.send(server.address()).await;
            assert_eq!(response.status, status, "{response:?}");
            assert_eq!(response.header("connection"), Some("close"), "{response:?}");
        }
    }
    for path in ["/nothing", "/dashboard", "/socket/websocket"] {
        for _ in 0..TIMES {
            let response = post(path, 20_000_000).send(server.address()).await;
            assert!((400..500).contains(&response.status), "{response:?}");
        }
    }
}

#[tokio::test]
async fn so_it_does_in_pieces_and_from_a_full_server() {
    let server = app("max_connections = 1").serve();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000)).repeat(300);
    let chunked = HttpRequest::new("POST", "/pipelines/jobs/events")
        .header("Authorization", "Bearer secret")
        .header("Content-Type", "application/json")
        .header("Transfer-Encoding", "chunked")
        .behind(format!("{chunk}0\r\n\r\n").as_bytes());
    assert_eq!(chunked.send(server.address()).await.status, 413);
    // The one place there is, once the connection before has given it back.
    let mut first = TcpStream::connect(server.address()).await.unwrap();
    while asked(&mut first).await != b"HTTP/1.1 404"[..] {
        first = TcpStream::connect(server.address()).await.unwrap();
    }
    for _ in 0..TIMES {
        let response = post("/pipelines/jobs/events", 5_000_000).send(server.address()).await;
        assert_eq!((response.status, response.header("retry-after")), (503, Some("5")));
    }
}

/// How an answer begins on a connection that stays open.
async fn asked(stream: &mut TcpStream) -> [u8; 12] {
    let mut start = [0; 12];
    stream.write_all(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    stream.read_exact(&mut start).await.unwrap();
    start
}

/// What the server says to some bytes, until it says no more.
async fn said(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut said)).await.expect("it ends").unwrap();
    said
}

fn head(server: &TestServer, more: &str) -> String {
    format!(
        "POST /pipelines/jobs/events HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer secret\r\n\
         content-type: application/json\r\n{more}\r\n",
        server.address()
    )
}

#[tokio::test]
async fn who_waits_to_be_told_to_go_on_is_told_at_once() {
    let server = app("").serve();
    let expect = "expect: 100-continue\r\n";
    let large = head(&server, &format!("content-length: 20000000\r\n{expect}"));
    let answer = said(&server, large.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let wrong = large.replace("Bearer secret", "Bearer wrong");
    let answer = said(&server, wrong.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    // What is right is gone on with; its body does not come, and it is not waited for.
    let right = head(&server, &format!("content-length: 20\r\n{expect}"));
    let answer = said(&server, right.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn a_body_that_was_read_leaves_the_connection_open() {
    let server = app("").serve();
    let request = |body: &str, more: &str| {
        let length = format!("content-length: {}\r\n{more}", body.len());
        format!("{}{body}", head(&server, &length))
    };
    let all = request("[]", "") + &request("{", "") + &request("[]", "connection: close\r\n");
    let answers = said(&server, all.as_bytes()).await;
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["202", "400", "202"], "{answers}");
}

#[tokio::test]
async fn an_operator_who_does_not_read_an_answer_is_cut_off() {
    let server = App::jobs()
        .with("[admin]\ntimeout_ms = 500")
        .pipeline("jobs", "worker = { plugin = \"jobs\" }\nhttp = { max_body_bytes = 50_000_000 }")
        .serve();
    let letter = json!({ "text": "x".repeat(200_000) });
    enqueued(&server, "jobs", &vec![letter; 100]).await;
    until_letters(&server, "jobs", 100).await;
    let mut stream = TcpStream::connect(server.admin()).await.unwrap();
    let get = "GET /pipelines/jobs/dead-letters HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(get.as_bytes()).await.unwrap();
    stream.readable().await.unwrap();
    // What is sent to a connection that is reset is refused.
    let cut_off = async {
        while stream.write_all(b"x").await.is_ok() {
            sleep(STEP).await
        }
    };
    timeout(PATIENCE, cut_off).await.expect("it is not waited for");
    let mut read = Vec::new();
    let end = timeout(PATIENCE, stream.read_to_end(&mut read)).await.expect("it is closed");
    assert!(end.is_err() || read.len() < 20_000_000, "{} bytes", read.len());
}
