//! Rates and deadlines.

use std::time::Duration;

use serde_json::json;

use crate::{done, job, of, pipeline};

/// Over any time, no more start than the rate allows and one second's worth; and no
/// less as long as events wait.
#[tokio::test(start_paused = true)]
async fn a_rate_bounds_how_many_start() {
    const RATE: u64 = 100;
    let settings = "rate_per_second = 100\nworker = { plugin = \"jobs\", consumers = 3 }\n";
    let pipeline = pipeline("rate", settings).await;
    pipeline.push((0..2_000).map(|seq| job("ada", seq, 0)));
    for seconds in 1..=15 {
        pipeline.wait(Duration::from_secs(1)).await;
        let done = pipeline.totals().done;
        let allowed = RATE * (seconds + 1);
        assert!((allowed - RATE / 10..=allowed).contains(&done), "{done} after {seconds} s");
    }
    pipeline.settle().await;
    assert_eq!(pipeline.totals().done, 2_000);
}

#[tokio::test(start_paused = true)]
async fn work_of_no_duration_takes_no_time() {
    let pipeline = pipeline("at-once", "worker = { plugin = \"jobs\", max_demand = 1 }\n").await;
    // Timers have a resolution of a millisecond, and this is within one.
    tokio::time::advance(Duration::from_micros(500)).await;
    let begun = tokio::time::Instant::now();
    pipeline.push((0..100).map(|seq| job("ada", seq, 0)));
    pipeline.settle().await;
    assert_eq!((pipeline.totals().done, begun.elapsed()), (100, Duration::ZERO));
}

/// An event that is tried again in a minute does not stop the others meanwhile.
#[tokio::test(start_paused = true)]
async fn a_rate_goes_on_while_an_event_waits_to_be_tried_again() {
    let settings = "rate_per_second = 100\nworker = { plugin = \"jobs\", max_demand = 1 }\n\
                    retry = { backoff_ms = 60_000 }\n";
    let pipeline = pipeline("rate-and-retry", settings).await;
    pipeline.push([json!({ "user": "bob", "seq": 0, "flaky": 1 })]);
    pipeline.push((0..500).map(|seq| job("ada", seq, 0)));
    pipeline.wait(Duration::from_secs(10)).await;
    let totals = pipeline.totals();
    assert_eq!((totals.done, totals.delayed), (500, 1));
    pipeline.settle().await;
    assert_eq!(done(&pipeline).last(), Some(&("bob".to_owned(), 0)));
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_is_dropped() {
    let settings = "deadline_ms = 250\nworker = { plugin = \"jobs\", max_demand = 1 }\n\
                    dead_letters = { dropped = true }\n";
    let pipeline = pipeline("deadline", settings).await;
    pipeline.push((0..10).map(|seq| job("ada", seq, 100)));
    pipeline.settle().await;
    // They start after 0, 100 and 200 ms.
    assert_eq!(of("ada", &done(&pipeline)), [0, 1, 2]);
    assert_eq!(pipeline.totals().all_dropped(), 7);
    let (reason, event) = &pipeline.dead_letters()[0];
    assert_eq!((reason.as_str(), &event["seq"]), ("it waited longer than deadline_ms", &json!(3)));
}
