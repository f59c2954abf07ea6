//! In which order events are handled.

use std::time::Duration;

use bytes::Bytes;
use millrace_pipeline::NewEvent;
use serde_json::json;
use tokio::time::Instant;

use crate::{done, job, of, pipeline};

const USERS: [&str; 8] = ["ada", "bob", "cyd", "dan", "eve", "fay", "gus", "hal"];

/// Later ones take less time, so that they would overtake earlier ones.
fn impatient() -> impl Iterator<Item = serde_json::Value> {
    let jobs = (0..20).flat_map(|seq| USERS.map(|user| job(user, seq, 40 - 2 * seq as u64)));
    jobs.into_iter()
}

#[tokio::test(start_paused = true)]
async fn a_partition_keeps_the_order_of_its_keys_beside_others() {
    let settings = "dispatcher = \"partition\"\nworker = { plugin = \"jobs\", consumers = 4 }\n";
    let pipeline = pipeline("partition", settings).await;
    let began = Instant::now();
    pipeline.push(impatient());
    pipeline.settle().await;
    let done = done(&pipeline);
    for user in USERS {
        assert_eq!(of(user, &done), (0..20).collect::<Vec<_>>(), "{user}");
    }
    // One after the other they would take 3.36 seconds.
    assert!(began.elapsed() < Duration::from_millis(3_000), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn ordered_keeps_it_with_any_dispatcher() {
    for dispatcher in ["demand", "fair", "isolate", "priority"] {
        let settings = format!(
            "ordered = true\ndispatcher = {dispatcher:?}\n\
             worker = {{ plugin = \"jobs\", consumers = 3, max_demand = 4 }}\n"
        );
        let pipeline = pipeline(&format!("ordered-{dispatcher}"), &settings).await;
        pipeline.push(impatient());
        pipeline.settle().await;
        let done = done(&pipeline);
        for user in USERS {
            assert_eq!(of(user, &done), (0..20).collect::<Vec<_>>(), "{user} with {dispatcher}");
        }
        assert!(pipeline.dispatchers()[0].starts_with(dispatcher), "it was replaced");
    }
}

/// Retries and all: what waits for the flaky one is of its key alone.
#[tokio::test(start_paused = true)]
async fn a_flaky_event_holds_up_its_key_and_no_other() {
    let settings = "ordered = true\nworker = { plugin = \"jobs\" }\n\
                    retry = { backoff_ms = 10_000, max_attempts = 3 }\n";
    let pipeline = pipeline("flaky", settings).await;
    let hopeless = json!({ "user": "eve", "seq": 0, "flaky": 9 });
    pipeline.push([json!({ "user": "ada", "seq": 0, "flaky": 2 }), hopeless]);
    pipeline.push((1..5).flat_map(|seq| ["ada", "bob", "eve"].map(|user| job(user, seq, 1))));
    pipeline.wait(Duration::from_secs(1)).await;
    assert_eq!(of("bob", &done(&pipeline)), [1, 2, 3, 4]);
    assert_eq!(done(&pipeline).len(), 4, "the others wait");
    pipeline.settle().await;
    assert_eq!(of("ada", &done(&pipeline)), [0, 1, 2, 3, 4]);
    // What was given up sets the next free.
    assert_eq!(of("eve", &done(&pipeline)), [1, 2, 3, 4]);
    assert_eq!(pipeline.totals().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn the_urgent_come_first_and_the_patient_are_not_forgotten() {
    let settings = "dispatcher = \"priority\"\nworker = { plugin = \"jobs\", max_demand = 1 }\n";
    let pipeline = pipeline("priority", settings).await;
    let event = |user: &str, seq, priority| {
        let payload = Bytes::from(job(user, seq, 100).to_string());
        NewEvent { payload, priority, ..NewEvent::default() }
    };
    pipeline.push_events([event("low", 0, 0), event("high", 0, 3)]);
    for seq in 1..100 {
        pipeline.wait(Duration::from_millis(100)).await;
        pipeline.push_events([event("high", seq, 3)]);
    }
    pipeline.settle().await;
    let done = done(&pipeline);
    // After three seconds it is worth as much as an urgent one that comes then.
    let at = done.iter().position(|(user, _)| user == "low").unwrap();
    assert!((29..34).contains(&at), "{at}: {done:?}");
}
