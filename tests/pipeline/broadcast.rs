//! Each event to all workers that select it.

use millrace_tests::App;
use serde_json::json;

use super::relay::{TOPIC, client, enqueue};
use super::{until, until_letters};

/// One worker for mails, one for texts and urgent mails, one for all of Ada's.
fn app() -> App {
    App::relay().pipeline(
        "orders",
        "dispatcher = \"broadcast\"\nretry = { max_attempts = 1 }\n\
         [[pipelines.orders.workers]]\nplugin = \"relay\"\nselect = { \"/kind\" = [\"mail\"] }\n\
         [[pipelines.orders.workers]]\nplugin = \"relay\"\n\
         select = { \"/kind\" = [\"text\", \"mail\"], \"/urgent\" = [\"true\"] }\n\
         [[pipelines.orders.workers]]\nplugin = \"relay\"\nselect = { \"/user\" = [\"ada\"] }\n",
    )
}

#[tokio::test]
async fn each_worker_gets_what_it_selects_and_the_rest_is_counted() {
    let server = app().serve();
    let mut client = client(&server).await;
    for (event, workers) in [
        (json!({ "kind": "mail" }), 1),
        (json!({ "kind": "mail", "urgent": true }), 2),
        (json!({ "kind": "mail", "urgent": true, "user": "ada" }), 3),
        (json!({ "user": "ada" }), 1),
        (json!({ "kind": "text" }), 0),
        (json!({ "kind": 3, "user": ["ada"] }), 0),
    ] {
        let mut event = event;
        event["tell"] = json!(TOPIC);
        client
            .push(TOPIC, "enqueue", json!({ "pipeline": "orders", "event": event, "silent": true }))
            .await;
        for _ in 0..workers {
            client.expect_broadcast(TOPIC, "told", event.clone()).await;
        }
        client.expect_nothing_from(TOPIC).await;
    }
    let view = until(&server, "orders", |totals| totals["done"] == 4).await;
    assert_eq!(view["totals"]["dropped"]["unselected"], 2, "{view}");
    client.expect_nothing_from(TOPIC).await;
}

#[tokio::test]
async fn an_event_is_done_once_all_of_its_workers_are_and_failed_if_one_has() {
    let server = app().serve();
    let mut client = client(&server).await;
    let event = json!({ "kind": "mail", "user": "ada", "reply": 1 });
    let reference = enqueue(&mut client, "orders", event).await;
    // Two reply, and one is the answer.
    client.expect_reply(TOPIC, &reference, "ok", json!(1)).await;
    until(&server, "orders", |totals| totals["done"] == 1).await;
    client.expect_nothing_from(TOPIC).await;
    let unwanted = enqueue(&mut client, "orders", json!({ "kind": "none" })).await;
    let reason = json!({ "reason": "unselected" });
    client.expect_reply(TOPIC, &unwanted, "error", reason).await;
    enqueue(&mut client, "orders", json!({ "kind": "mail", "user": "ada", "fail": "no" })).await;
    until(&server, "orders", |totals| totals["failed"] == 1).await;
    // One of each worker.
    until_letters(&server, "orders", 2).await;
}
