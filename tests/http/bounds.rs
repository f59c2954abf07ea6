//! Requests that take too long or bring too much, and too many of them.

use millrace_tests::{App, free_port};
use serde_json::json;

use crate::upstream::{Upstream, response};
use crate::{TOPIC, client, expect_error, fetch};

#[tokio::test]
async fn a_request_that_is_not_answered_in_time_fails() {
    let upstream = Upstream::start(|_| None).await;
    let url = format!("http://127.0.0.1:{}/", upstream.port);
    let server = App::fetch()
        .reaching_this_machine("fetch")
        .with("[plugins.fetch.http]\ntimeout_ms = 200")
        .serve();
    let mut client = client(&server).await;
    expect_error(&mut client, json!({ "url": url }), "timeout", "not answered in time").await;
    // A plugin may be less patient, and not more.
    for ms in [10, 3_600_000] {
        let order = json!({ "url": url, "timeout_ms": ms });
        expect_error(&mut client, order, "timeout", "").await;
    }
}

#[tokio::test]
async fn a_body_that_never_ends_does_not_count_as_an_answer() {
    let upstream =
        Upstream::start(|_| Some(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()))
            .await;
    let server = App::fetch()
        .reaching_this_machine("fetch")
        .with("[plugins.fetch.http]\ntimeout_ms = 200")
        .serve();
    let mut client = client(&server).await;
    let order = json!({ "url": format!("http://127.0.0.1:{}/", upstream.port) });
    expect_error(&mut client, order, "timeout", "").await;
}

#[tokio::test]
async fn bodies_have_bounds() {
    let upstream = Upstream::start(|request| match request.split(' ').nth(1) {
        Some("/chunked") => {
            let chunk = format!("64\r\n{}\r\n", "x".repeat(100));
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            Some(format!("{head}{}0\r\n\r\n", chunk.repeat(11)).into_bytes())
        }
        Some("/more") => response("200 OK", &"x".repeat(1_001)),
        _ => response("200 OK", &"x".repeat(1_000)),
    })
    .await;
    let server = App::fetch()
        .reaching_this_machine("fetch")
        .with("[plugins.fetch.http]\nmax_request_bytes = 500\nmax_response_bytes = 1000")
        .serve();
    let mut client = client(&server).await;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", upstream.port);
    let order = json!({ "url": url("/"), "method": "PUT", "bytes": 500 });
    let answer = fetch(&mut client, order).await.unwrap();
    assert_eq!(answer["body"].as_str().unwrap().len(), 1_000);
    let order = json!({ "url": url("/"), "method": "PUT", "bytes": 501 });
    expect_error(&mut client, order, "invalid", "501 bytes, allowed are 500").await;
    for path in ["/more", "/chunked"] {
        let words = "more than 1000 bytes (http.max_response_bytes)";
        expect_error(&mut client, json!({ "url": url(path) }), "too_large", words).await;
    }
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_bound() {
    let upstream = Upstream::start(|_| None).await;
    let server = App::fetch()
        .reaching_this_machine("fetch")
        .with("[plugins.fetch.http]\nmax_concurrent = 2\ntimeout_ms = 60000")
        .serve();
    let url = format!("http://127.0.0.1:{}/", upstream.port);
    // Channels of their own: one has one call at a time.
    let mut client = client(&server).await;
    for topic in ["fetch:b", "fetch:c"] {
        client.join(topic).await;
        client.push(topic, "fetch", json!({ "url": url })).await;
    }
    // Both are on their way: the connection handles one message after the other.
    expect_error(&mut client, json!({ "url": url }), "overloaded", "http.max_concurrent").await;
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
}

#[tokio::test]
async fn servers_that_break_off_or_speak_no_http_are_unreachable() {
    let server = App::fetch().reaching_this_machine("fetch").serve();
    let mut client = client(&server).await;
    let order = json!({ "url": format!("http://127.0.0.1:{}/", free_port()) });
    expect_error(&mut client, order, "unreachable", "").await;
    let upstream = Upstream::start(|_| Some(b"220 mail.example.com ESMTP\r\n".to_vec())).await;
    let order = json!({ "url": format!("http://127.0.0.1:{}/", upstream.port) });
    expect_error(&mut client, order, "unreachable", "").await;
    let order = json!({ "url": "http://localhost:1/" });
    expect_error(&mut client, order, "unreachable", "refused").await;
}
