//! Stages before the workers.

use millrace_tests::App;
use serde_json::{Value, json};

use super::relay::{TOPIC, asks, client};
use super::{until, until_letters};

/// Two transforms before the worker, with these settings of the pipeline.
fn app(settings: &str) -> App {
    App::relay().pipeline(
        "orders",
        &format!(
            "worker = {{ plugin = \"relay\" }}\npartition_by = \"/user\"\n\
             transforms = [{{ plugin = \"relay\" }}, {{ plugin = \"relay\", dispatcher = \"fair\" }}]\n\
             {settings}",
        ),
    )
}

/// An event for two transforms: the first sets a field and the second's order.
fn event(second: &Value, worker: &Value) -> Value {
    let mut fields = worker.clone();
    fields["transform"] = second.clone();
    json!({ "user": "ada", "transform": { "set": fields } })
}

#[tokio::test]
async fn a_transform_forwards_what_it_made_of_an_event() {
    let server = app("").serve();
    let mut client = client(&server).await;
    let told = event(&json!({ "set": { "second": 2 } }), &json!({ "first": 1, "tell": TOPIC }));
    client
        .push(TOPIC, "enqueue", json!({ "pipeline": "orders", "event": told, "silent": true }))
        .await;
    let expected = json!({ "user": "ada", "first": 1, "second": 2, "tell": TOPIC });
    client.expect_broadcast(TOPIC, "told", expected).await;
    // Who waits is answered by the last stage.
    let reply = event(&json!({ "set": { "reply": 3 } }), &json!({}));
    asks(&mut client, reply, "ok", json!(3)).await;
    let view = until(&server, "orders", |totals| totals["done"] == 2).await;
    assert_eq!(view["dispatchers"].as_array().unwrap().len(), 3, "{view}");
}

#[tokio::test]
async fn what_a_transform_drops_goes_no_further() {
    let server = app("dead_letters = { dropped = true }\n").serve();
    let mut client = client(&server).await;
    let reason = json!({ "reason": "a duplicate" });
    let first = json!({ "transform": { "drop": "a duplicate" } });
    asks(&mut client, first, "error", reason.clone()).await;
    let second = event(&json!({ "drop": "a duplicate" }), &json!({ "tell": TOPIC }));
    asks(&mut client, second, "error", reason).await;
    until(&server, "orders", |totals| totals["dropped"]["worker"] == 2).await;
    until_letters(&server, "orders", 2).await;
    client.expect_nothing_from(TOPIC).await;
}

/// What a transform makes may not be larger than what may come in.
#[tokio::test]
async fn a_transform_cannot_blow_an_event_up() {
    let server = app("buffer = { max_event_bytes = 300 }\n").serve();
    let mut client = client(&server).await;
    // The whole is `{"fill":"x…"}`.
    let reason = "forwarded 301 bytes, allowed are 300 (buffer.max_event_bytes)";
    let event = json!({ "transform": { "fill": 301 - 11 } });
    asks(&mut client, event, "error", json!({ "reason": reason })).await;
    until(&server, "orders", |totals| totals["failed"] == 1 && totals["bytes"] == 0).await;
}
