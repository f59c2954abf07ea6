//! What happens at the bounds of a buffer.

use millrace_tests::{App, TestServer};
use serde_json::{Value, json};

use super::{enqueue, enqueued, job, until};

/// A pipeline whose one worker is busy for as long as the test looks.
async fn busy(buffer: &str) -> TestServer {
    let server = App::jobs()
        .pipeline(
            "jobs",
            &format!(
                "worker = {{ plugin = \"jobs\", max_demand = 1 }}\n\
                 partition_by = \"/user\"\nhttp = {{ wait_ms = 300 }}\n\
                 [pipelines.jobs.buffer]\n{buffer}",
            ),
        )
        .serve();
    enqueued(&server, "jobs", &[json!({ "user": "busy", "seq": 0, "work_ms": 20_000 })]).await;
    until(&server, "jobs", |totals| totals["in_flight"] == 1).await;
    server
}

fn jobs(count: usize) -> Vec<Value> {
    (0..count).map(|seq| job("ada", seq)).collect()
}

#[tokio::test]
async fn a_full_buffer_refuses_all_of_a_request_and_says_when_to_come_again() {
    let server = busy("size = 5").await;
    enqueued(&server, "jobs", &jobs(3)).await;
    let response = enqueue(&server, "jobs", &jobs(3)).await;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.header("retry-after"), Some("1"), "{response:?}");
    let reason = "there is room for 2 of the 3 events now (buffer.size, buffer.max_bytes), and all \
                  or none are taken; send all of them again";
    let told = json!({ "accepted": 0, "rejected": 3, "reason": reason });
    assert_eq!(response.json(), told);
    enqueued(&server, "jobs", &jobs(2)).await;
    let view = until(&server, "jobs", |_| true).await;
    assert_eq!((&view["totals"]["rejected"], &view["totals"]["buffered"]), (&json!(3), &json!(5)));
}

#[tokio::test]
async fn a_buffer_may_drop_the_newest_or_the_oldest() {
    for (keep, reason) in [("first", "newest"), ("last", "oldest")] {
        let server = busy(&format!("size = 3\nkeep = \"{keep}\"")).await;
        enqueued(&server, "jobs", &jobs(5)).await;
        let view = until(&server, "jobs", |_| true).await;
        assert_eq!(view["totals"]["dropped"][reason], 2, "{view}");
        assert_eq!(view["totals"]["buffered"], 3, "{view}");
    }
}

#[tokio::test]
async fn a_producer_that_waits_is_refused_in_the_end() {
    let server = busy("size = 3\non_full = \"wait\"").await;
    enqueued(&server, "jobs", &jobs(2)).await;
    let response = enqueue(&server, "jobs", &jobs(2)).await;
    assert_eq!(response.status, 429, "{response:?}");
    assert_eq!(response.json()["accepted"], 0);
}

#[tokio::test]
async fn one_user_has_no_more_than_its_share() {
    let server = busy("max_per_key = 2").await;
    enqueued(&server, "jobs", &[job("ada", 0), job("bob", 0)]).await;
    let response = enqueue(&server, "jobs", &[job("bob", 1), job("ada", 1), job("ada", 2)]).await;
    let reason = "event 2 finds as many of its key waiting as there may be (buffer.max_per_key), \
                  and all or none are taken; send all of them again";
    let told = json!({ "accepted": 0, "rejected": 3, "reason": reason });
    assert_eq!((response.status, response.json()), (429, told));
    enqueued(&server, "jobs", &[job("bob", 1), job("ada", 1)]).await;
}
