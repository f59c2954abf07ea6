//! Programs that ship logs: they compress what they send, send all of it again after 429
//! and 5xx, and give it up after any other 4xx.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use millrace_tests::{App, HttpRequest, HttpResponse, TestServer};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{enqueued, job, until};

/// A pipeline whose one worker has something to do for so long.
async fn busy(work_ms: u64, more: &str) -> TestServer {
    let server = App::jobs()
        .pipeline(
            "jobs",
            &format!(
                "worker = {{ plugin = \"jobs\", max_demand = 1 }}\n\
                 http = {{ max_body_bytes = 100_000 }}\npartition_by = \"/user\"\n{more}",
            ),
        )
        .serve();
    let job = json!({ "user": "busy", "seq": 0, "work_ms": work_ms });
    enqueued(&server, "jobs", &[job]).await;
    until(&server, "jobs", |totals| totals["in_flight"] == 1).await;
    server
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn lines(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
}

fn post(coding: &str, body: &[u8]) -> HttpRequest {
    HttpRequest::new("POST", "/pipelines/jobs/events")
        .header("Content-Type", "application/x-ndjson")
        .header("Content-Encoding", coding)
        .header("Content-Length", &body.len().to_string())
        .behind(body)
}

/// What becomes of a batch.
#[derive(Debug, PartialEq)]
enum Shipped {
    /// After so many answers that said to send it again.
    Delivered(usize),
    /// With this answer.
    Dropped(u16),
}

/// Ships a batch as such programs do by their documentation.
async fn ship(server: &TestServer, events: &[Value]) -> Shipped {
    let request = post("gzip", &gzip(&lines(events)));
    let mut again = 0;
    loop {
        let response = request.send(server.address()).await;
        match response.status {
            // One of them takes 207 for a failure.
            200..=205 => return Shipped::Delivered(again),
            408 | 429 | 500.. => {
                let seconds: u64 = response.header("retry-after").unwrap().parse().unwrap();
                assert_eq!(seconds, 1, "{response:?}");
                again += 1;
                sleep(Duration::from_millis(20)).await;
            }
            status => return Shipped::Dropped(status),
        }
    }
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_taken_once() {
    for on_full in ["", "on_full = \"wait\""] {
        let server = busy(1500, &format!("[pipelines.jobs.buffer]\nsize = 3\n{on_full}\n")).await;
        enqueued(&server, "jobs", &[job("ada", 1), job("ada", 2)]).await;
        let batch = [job("bob", 1), job("bob", 2), job("bob", 3)];
        let mut bob = server.client().await;
        bob.join("user:bob").await;
        let shipped = ship(&server, &batch).await;
        let again = match shipped {
            Shipped::Delivered(again) => again,
            Shipped::Dropped(_) => panic!("{on_full}: {shipped:?}"),
        };
        assert_eq!(again > 0, on_full.is_empty(), "{on_full}: {again}");
        let view = until(&server, "jobs", |totals| totals["done"] == 6).await;
        let totals = &view["totals"];
        assert_eq!((&totals["accepted"], &totals["rejected"]), (&json!(6), &json!(3 * again)));
        for seq in 1..=3 {
            let done = json!({ "user": "bob", "seq": seq });
            bob.expect_broadcast("user:bob", "job_done", done).await;
        }
        bob.expect_nothing().await;
    }
}

#[tokio::test]
async fn a_batch_that_can_never_be_taken_is_given_up_and_the_answer_says_why() {
    let buffer = "[pipelines.jobs.buffer]\nsize = 3\nmax_per_key = 2\nmax_event_bytes = 1000\n";
    let server = busy(20_000, buffer).await;
    let large = json!({ "user": "ada", "text": "x".repeat(2000) });
    for (batch, told) in [
        (vec![job("ada", 1), job("bob", 1), job("eve", 1), job("eve", 2)], "(buffer.size)"),
        (vec![job("ada", 1), job("ada", 2), job("ada", 3)], "(buffer.max_per_key)"),
        (vec![large], "(buffer.max_event_bytes)"),
    ] {
        assert_eq!(ship(&server, &batch).await, Shipped::Dropped(413), "{told}");
        let told_so = post("gzip", &gzip(&lines(&batch))).send(server.address()).await;
        assert!(told_so.body.contains(told), "{told_so:?}");
    }
    assert_eq!(ship(&server, &[job("ada", 1), job("bob", 1)]).await, Shipped::Delivered(0));
    let view = until(&server, "jobs", |_| true).await;
    assert_eq!((&view["totals"]["rejected"], &view["totals"]["buffered"]), (&json!(0), &json!(2)));
}

async fn sent(server: &TestServer, coding: &str, body: &[u8]) -> HttpResponse {
    post(coding, body).send(server.address()).await
}

#[tokio::test]
async fn compressed_bodies_are_read_up_to_the_bound() {
    let server = busy(20_000, "").await;
    let text = lines(&[job("ada", 1), job("ada", 2)]);
    let taken = json!({ "accepted": 2, "rejected": 0 });
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text.as_bytes()).unwrap();
    for (coding, body) in
        [("gzip", gzip(&text)), ("X-GZIP", gzip(&text)), ("deflate", zlib.finish().unwrap())]
    {
        let response = sent(&server, coding, &body).await;
        assert_eq!((response.status, response.json()), (202, taken.clone()), "{response:?}");
    }
    // A thousandth of what it is once it is decoded.
    let bomb = gzip(&" ".repeat(50_000_000));
    assert!(bomb.len() < 100_000);
    for (coding, body, status, told) in [
        ("gzip", bomb, 413, "more than 100000 bytes once it is decoded (http.max_body_bytes)"),
        ("gzip", text.clone().into_bytes(), 400, "the body is not gzip"),
        ("gzip", gzip(&text)[..20].to_vec(), 400, "the body is not gzip"),
        ("zstd", text.clone().into_bytes(), 415, "content-encoding is \"zstd\"; gzip, deflate or"),
        ("gzip, gzip", gzip(&text), 415, "content-encoding is \"gzip, gzip\""),
    ] {
        let response = sent(&server, coding, &body).await;
        assert_eq!(response.status, status, "{response:?}");
        assert!(response.body.contains(told), "{response:?}");
        let accepted = (status == 415).then_some("gzip, deflate");
        assert_eq!(response.header("accept-encoding"), accepted, "{response:?}");
    }
    let view = until(&server, "jobs", |_| true).await;
    assert_eq!(view["totals"]["accepted"], 7, "{view}");
}

#[tokio::test]
async fn events_may_stand_one_behind_the_other() {
    let server = busy(20_000, "").await;
    let (first, second) = (job("ada", 1), job("ada", 2));
    for body in [format!("{first}{second}"), format!("\u{feff}{first}\n{second}\n")] {
        let post = HttpRequest::new("POST", "/pipelines/jobs/events");
        let response = post.body("application/json", &body).send(server.address()).await;
        assert_eq!(response.json(), json!({ "accepted": 2, "rejected": 0 }), "{response:?}");
    }
}
