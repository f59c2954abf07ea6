//! What the jobs app promises.

use millrace_tests::{App, Gate, HttpRequest};
use serde_json::json;

use super::{enqueue, enqueued, job, until, view};

/// The same pipeline, whose workers wait at a gate.
pub(super) fn gated_app(gate: &Gate) -> App {
    App::gated_jobs(gate).pipeline(
        "jobs",
        "worker = { plugin = \"jobs\", max_demand = 4 }\ndispatcher = \"fair\"\n\
         partition_by = \"/user\"\nhttp = {}",
    )
}

#[tokio::test]
async fn what_is_done_reaches_the_user() {
    let server = App::jobs_app().serve();
    let mut client = server.client().await;
    client.join("user:ada").await;
    let jobs: Vec<_> = (0..100).map(|seq| job("ada", seq)).collect();
    enqueued(&server, "jobs", &jobs).await;
    for job in jobs {
        client.expect_broadcast("user:ada", "job_done", job).await;
    }
    let view = until(&server, "jobs", |totals| totals["done"] == 100).await;
    assert_eq!(view["totals"]["accepted"], 100);
    assert!(view["dispatchers"][0].as_str().unwrap().starts_with("dispatch "), "{view}");
}

/// Four are in work at a time, and no more.
#[tokio::test]
async fn the_workers_are_bounded_and_work_at_the_same_time() {
    let gate = Gate::closed();
    let server = gated_app(&gate).serve();
    let slow = |seq| json!({ "user": "ada", "seq": seq, "work_ms": 1 });
    let jobs: Vec<_> = (0..10).map(slow).collect();
    enqueued(&server, "jobs", &jobs).await;
    gate.until_waiting(4).await;
    let view = view(&server, "jobs").await;
    let (in_flight, buffered) = (&view["totals"]["in_flight"], &view["totals"]["buffered"]);
    assert_eq!((in_flight, buffered), (&json!(4), &json!(6)), "{view}");
    for _ in 0..10 {
        gate.let_through(1).await;
        let view = super::view(&server, "jobs").await;
        assert!(view["totals"]["in_flight"].as_u64() <= Some(4), "{view}");
    }
    until(&server, "jobs", |totals| totals["done"] == 10).await;
}

#[tokio::test]
async fn what_fails_for_a_while_is_tried_again() {
    let server = App::jobs_app().serve();
    let mut client = server.client().await;
    client.join("user:ada").await;
    enqueued(&server, "jobs", &[json!({ "user": "ada", "seq": 1, "flaky": 2 })]).await;
    client.expect_broadcast("user:ada", "job_done", job("ada", 1)).await;
    let view = until(&server, "jobs", |totals| totals["done"] == 1).await;
    assert_eq!(view["totals"]["retried"], 2);
}

#[tokio::test]
async fn events_come_as_json_lines_or_cloudevents() {
    let server = App::jobs_app().serve();
    let mut client = server.client().await;
    client.join("user:ada").await;
    let cloud = json!({
        "specversion": "1.0", "id": "1", "source": "/test", "type": "job",
        "partitionkey": "ada", "user": "ada", "seq": 3,
    });
    for (content_type, body, seqs) in [
        ("application/json", job("ada", 0).to_string(), 0..1),
        ("application/json", json!([job("ada", 1), job("ada", 2)]).to_string(), 1..3),
        ("application/cloudevents+json", cloud.to_string(), 3..4),
    ] {
        let request = HttpRequest::new("POST", "/pipelines/jobs/events").body(content_type, &body);
        assert_eq!(request.send(server.address()).await.status, 202);
        for seq in seqs {
            client.expect_broadcast("user:ada", "job_done", job("ada", seq)).await;
        }
    }
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong_and_nothing_of_it_is_taken() {
    let server = App::jobs_app().serve();
    let post = |path: &str, content_type: &str, body: &str| {
        HttpRequest::new("POST", path).body(content_type, body)
    };
    let (path, lines) = ("/pipelines/jobs/events", "application/x-ndjson");
    let large = format!("\"{}\"", "x".repeat(300 * 1024));
    let larger = "1\n".repeat(600 * 1024);
    for (request, status, problem) in [
        (post("/pipelines/none/events", lines, "1"), 404, "[pipelines.none.http]"),
        (post(path, "text/plain", "1"), 415, "application/x-ndjson, "),
        (post(path, lines, "{}\n{"), 400, "line 2 is not JSON"),
        (post(path, lines, &large), 413, "buffer.max_event_bytes"),
        (post(path, lines, &larger), 413, "http.max_body_bytes"),
        (post(path, lines, "1").method("PUT"), 405, "POST is expected"),
    ] {
        let response = request.send(server.address()).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.body.contains(problem), "{response:?}");
    }
    assert_eq!(until(&server, "jobs", |_| true).await["totals"]["accepted"], 0);
}

#[tokio::test]
async fn a_token_keeps_others_out() {
    let server =
        App::jobs().pipeline("jobs", "worker.plugin = \"jobs\"\nhttp.token = \"secret\"").serve();
    let response = enqueue(&server, "jobs", &[job("ada", 1)]).await;
    assert_eq!(response.status, 401, "{response:?}");
    assert!(response.body.contains("[pipelines.jobs.http] token"), "{response:?}");
    let request = HttpRequest::new("POST", "/pipelines/jobs/events")
        .body("application/json", "{}")
        .header("Authorization", "Bearer secret");
    assert_eq!(request.send(server.address()).await.status, 202);
}
