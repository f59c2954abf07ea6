//! The keys of events, found in their JSON.

use millrace_tests::{App, HttpRequest, HttpResponse, TestServer};
use serde_json::{Value, json};

use super::{enqueued, until, until_letters};

/// A pipeline whose worker reads none of these events, so that they are dead letters.
fn app(more: &str) -> App {
    App::jobs().pipeline(
        "jobs",
        &format!(
            "http = {{}}\nworker = {{ plugin = \"jobs\", max_demand = 1 }}\n\
             partition_by = \"/key\"\n{more}"
        ),
    )
}

async fn send(server: &TestServer, content_type: &str, body: &str) -> HttpResponse {
    let post = HttpRequest::new("POST", "/pipelines/jobs/events").body(content_type, body);
    post.send(server.address()).await
}

/// The keys of the dead letters, in the order of their numbers.
async fn keys(server: &TestServer, expected: u64) -> Vec<Value> {
    until_letters(server, "jobs", expected).await;
    let letters = HttpRequest::new("GET", "/pipelines/jobs/dead-letters");
    let letters = letters.send(server.admin()).await.json();
    letters["dead_letters"].as_array().unwrap().iter().map(|letter| letter["key"].clone()).collect()
}

#[tokio::test]
async fn numbers_are_keys_as_they_are_written() {
    let server = app("").serve();
    let body = r#"[{"key":18446744073709551616}, {"key":18446744073709551617}, {"key":1e999},
                   {"key":0.10}, {"key":-0}, {"key":true}, {"key":null}, {}]"#;
    assert_eq!(send(&server, "application/json", body).await.status, 202);
    let expected = ["18446744073709551616", "18446744073709551617", "1e999", "0.10", "-0", "true"];
    let expected = expected.map(Value::from).into_iter().chain([Value::Null, Value::Null]);
    assert_eq!(keys(&server, 8).await, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn what_does_not_matter_for_the_key_does_not_take_it_away() {
    let server = app("").serve();
    let deep = format!(r#"{{"x":{}{},"key":"ada"}}"#, "[".repeat(1000), "]".repeat(1000));
    let lines = [
        r#"{"key":"ada","text":"cut \ud83d"}"#,
        r#"{"\udc00":1,"key":"ada"}"#,
        r#"{"n":1e999,"key":"\u0061da"}"#,
        r#"{"key":"\ud83d"}"#,
        deep.as_str(),
    ];
    assert_eq!(send(&server, "application/x-ndjson", &lines.join("\n")).await.status, 202);
    let body = format!("[{}]", lines.join(","));
    assert_eq!(send(&server, "application/json", &body).await.status, 202);
    let once = ["ada", "ada", "ada", r"\ud83d", "ada"];
    let expected: Vec<_> = once.iter().chain(&once).map(|key| json!(key)).collect();
    assert_eq!(keys(&server, 10).await, expected);
}

#[tokio::test]
async fn an_event_with_half_a_surrogate_is_within_the_share_of_its_key() {
    let server = app("[pipelines.jobs.buffer]\nmax_per_key = 1\n").serve();
    let busy = json!({ "user": "x", "seq": 0, "work_ms": 20_000 });
    enqueued(&server, "jobs", &[busy]).await;
    until(&server, "jobs", |totals| totals["in_flight"] == 1).await;
    let event = r#"{"key":"ada","text":"\ud83d"}"#;
    assert_eq!(send(&server, "application/json", event).await.status, 202);
    let second = send(&server, "application/json", event).await;
    assert_eq!(second.status, 429, "{second:?}");
    assert!(second.body.contains("buffer.max_per_key"), "{second:?}");
}
