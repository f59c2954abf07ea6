//! Events over HTTP, through dispatchers and workers in Wasm, to clients.

mod answers;
mod bounds;
mod broadcast;
mod cloud_events;
mod dead_letters;
mod dispatchers;
mod grants;
mod jobs;
mod keys;
mod memory;
mod relay;
mod shippers;
mod stopping;
mod switching;
mod timers;
mod transforms;
mod unfair;
mod unread;

use std::time::Instant;

use millrace_tests::{HttpRequest, HttpResponse, PATIENCE, TestServer};
use serde_json::{Value, json};

/// Hands events to a pipeline, one in each line.
async fn enqueue(server: &TestServer, pipeline: &str, events: &[Value]) -> HttpResponse {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let path = format!("/pipelines/{pipeline}/events");
    let request = HttpRequest::new("POST", &path).body("application/x-ndjson", &lines);
    request.send(server.address()).await
}

/// The same, and all of them are taken.
async fn enqueued(server: &TestServer, pipeline: &str, events: &[Value]) {
    let response = enqueue(server, pipeline, events).await;
    assert_eq!(response.status, 202, "{response:?}");
    assert_eq!(response.json(), json!({ "accepted": events.len(), "rejected": 0 }));
}

/// What became of a pipeline's events.
async fn view(server: &TestServer, pipeline: &str) -> Value {
    let path = format!("/pipelines/{pipeline}");
    let response = HttpRequest::new("GET", &path).send(server.admin()).await;
    assert_eq!(response.status, 200, "{response:?}");
    let view = response.json();
    assert_eq!(view["conserved"], true, "{view}");
    view
}

/// Makes another dispatcher that of a pipeline's last stage: the status, and what
/// was told.
async fn switch(server: &TestServer, pipeline: &str, dispatcher: &str) -> HttpResponse {
    let path = format!("/pipelines/{pipeline}/dispatcher");
    let body = json!({ "dispatcher": dispatcher }).to_string();
    let request = HttpRequest::new("POST", &path).body("application/json", &body);
    request.send(server.admin()).await
}

/// Looks at a pipeline until its totals are as they should be.
async fn until(server: &TestServer, pipeline: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    until_view(server, pipeline, |view| is_so(&view["totals"])).await
}

/// The same, until it has so many dead letters.
async fn until_letters(server: &TestServer, pipeline: &str, letters: u64) -> Value {
    until_view(server, pipeline, |view| view["dead_letters"] == letters).await
}

async fn until_view(server: &TestServer, pipeline: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let view = view(server, pipeline).await;
        if is_so(&view) {
            return view;
        }
        assert!(began.elapsed() < PATIENCE, "{view}");
    }
}

fn job(user: &str, seq: usize) -> Value {
    json!({ "user": user, "seq": seq })
}
