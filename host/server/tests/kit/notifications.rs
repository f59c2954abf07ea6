//! `examples/notifications`, as its author would test it.

use std::time::Duration;

use millrace::testing::{TestApp, TestPipeline};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::built;

async fn pipeline() -> TestPipeline {
    let app = TestApp::load(&built("examples/notifications")).await.unwrap();
    app.pipeline("notifications").unwrap()
}

fn order(user: &str) -> Value {
    json!({ "user": user, "kind": "order" })
}

/// The place of the last of Bob's among all that arrived.
fn last_of_bob(pipeline: &TestPipeline) -> usize {
    let topics = pipeline.broadcasts();
    topics.iter().rposition(|broadcast| broadcast.topic == "user:bob").unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_notification_is_enriched_and_arrives_at_its_user() {
    let pipeline = pipeline().await;
    assert_eq!(pipeline.push([order("ada")]), 1);
    pipeline.settle().await;
    let broadcasts = pipeline.broadcasts();
    let [broadcast] = broadcasts.as_slice() else { panic!("{broadcasts:?}") };
    assert_eq!((&*broadcast.topic, &*broadcast.event), ("user:ada", "notification"));
    let event: Value = serde_json::from_str(broadcast.payload["event"].as_str().unwrap()).unwrap();
    assert_eq!(event, json!({ "user": "ada", "text": "Your order is on its way." }));
    // What is none is dropped by the transform.
    pipeline.push([json!({ "user": "ada" })]);
    pipeline.settle().await;
    let totals = pipeline.totals();
    assert_eq!((totals.done, totals.all_dropped()), (1, 1));
    assert!(totals.is_conserved() && pipeline.faults().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_quiet_does_not_wait_for_who_is_noisy() {
    let pipeline = pipeline().await;
    let began = Instant::now();
    pipeline.push((0..900).map(|_| order("ada")));
    pipeline.push([order("bob"), order("bob")]);
    pipeline.settle().await;
    assert_eq!(pipeline.totals().done, 902);
    // A turn each: behind what was in work, and one of hers for each of his.
    assert!(last_of_bob(&pipeline) < 16, "{}", last_of_bob(&pipeline));
    // Four at a time, 20 ms each.
    let took = began.elapsed();
    let expected = Duration::from_millis(902_u64.div_ceil(4) * 20);
    assert!((expected..expected * 11 / 10).contains(&took), "{took:?}, {expected:?} expected");
}

#[tokio::test(start_paused = true)]
async fn an_operator_may_make_him_wait() {
    let pipeline = pipeline().await;
    pipeline.switch_dispatcher("demand").unwrap();
    assert_eq!(pipeline.dispatchers(), ["demand", "demand"]);
    pipeline.push((0..300).map(|_| order("ada")));
    pipeline.push([order("bob")]);
    pipeline.wait(Duration::from_millis(500)).await;
    // Half a second is enough for a hundred, and not for Bob.
    let done = pipeline.totals().done;
    assert!((90..=104).contains(&done), "{done}");
    pipeline.switch_dispatcher("fair").unwrap();
    pipeline.settle().await;
    assert!(last_of_bob(&pipeline) < done as usize + 16, "{}", last_of_bob(&pipeline));
    assert_eq!(pipeline.totals().done, 301);
    let wrong = pipeline.switch_dispatcher("none").unwrap_err().to_string();
    assert!(wrong.starts_with("pipelines.notifications.dispatcher is \"none\""), "{wrong}");
}
