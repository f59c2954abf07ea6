//! What comes of events.

use std::time::Duration;

use millrace_pipeline::NewEvent;
use serde_json::json;
use tokio::time::Instant;

use crate::{done, job, of, pipeline};

#[tokio::test(start_paused = true)]
async fn what_fails_waits_longer_each_time() {
    let settings =
        "worker = { plugin = \"jobs\" }\nretry = { max_attempts = 4, backoff_ms = 100 }\n";
    let pipeline = pipeline("retries", settings).await;
    let began = Instant::now();
    pipeline.push([json!({ "user": "ada", "seq": 1, "flaky": 3 })]);
    pipeline.settle().await;
    assert_eq!((pipeline.totals().done, pipeline.totals().retried), (1, 3));
    // 100, 200 and 400 ms, up to half of them by chance.
    let took = began.elapsed();
    let expected = Duration::from_millis(350)..Duration::from_millis(750);
    assert!(expected.contains(&took), "{took:?}");

    pipeline.push([json!({ "user": "ada", "seq": 2, "flaky": 9 })]);
    pipeline.settle().await;
    let letters = pipeline.dead_letters();
    assert_eq!(letters[0].0, "attempt 4 of a flaky job");
    assert_eq!(letters[0].1["seq"], 2);
    assert_eq!(done(&pipeline), [("ada".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_with_poison_loses_nothing_else() {
    let settings = "worker = { plugin = \"jobs\", max_demand = 16, min_demand = 8, \
                    batch_size = 8, batch_timeout_ms = 50 }\n";
    let pipeline = pipeline("poison", settings).await;
    let mut jobs: Vec<_> = (0..8).map(|seq| job("ada", seq, 0)).collect();
    jobs[5]["poison"] = json!(true);
    pipeline.push(jobs);
    pipeline.settle().await;
    assert_eq!((pipeline.totals().done, pipeline.totals().failed), (7, 1));
    let mut seqs = of("ada", &done(&pipeline));
    seqs.sort_unstable();
    assert_eq!(seqs, [0, 1, 2, 3, 4, 6, 7]);
    assert!(pipeline.dead_letters()[0].0.contains("job 5 of ada is poison"));
    // 8, 4, 2 and 1, and the four attempts after that.
    assert_eq!(pipeline.faults().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_answered() {
    let pipeline = pipeline("answers", "worker = { plugin = \"relay\" }\n").await;
    let answer = pipeline.ask(json!({ "flaky": 1, "reply": { "id": 7 } })).await;
    assert_eq!(answer, Some(("ok".to_owned(), json!({ "id": 7 }))));
    let answer = pipeline.ask(json!({ "drop": "nobody wants it" })).await;
    assert_eq!(answer, Some(("error".to_owned(), json!({ "reason": "nobody wants it" }))));
    assert_eq!(pipeline.ask(json!({})).await, None);

    let bill = json!({ "pipeline": "bills", "event": { "total": 3 } });
    pipeline.push([json!({ "on": bill })]);
    pipeline.settle().await;
    let enqueued = pipeline.enqueued();
    let [(name, NewEvent { payload, .. })] = enqueued.as_slice() else { panic!("{enqueued:?}") };
    assert_eq!((name.as_str(), payload.as_ref()), ("bills", &b"{\"total\":3}"[..]));
}
