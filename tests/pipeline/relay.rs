//! Events that channels hand over, and what comes back to their clients.

use std::time::Duration;

use millrace_tests::{App, Gate, TestClient, TestServer};
use serde_json::{Value, json};

use super::until;

pub(super) const TOPIC: &str = "relay:ada";

/// One pipeline for the relay's events, with these settings.
pub(super) fn app(settings: &str) -> App {
    with_orders(App::relay(), settings)
}

/// The same, whose worker waits at a gate.
pub(super) fn gated_app(gate: &Gate, settings: &str) -> App {
    with_orders(App::gated_relay(gate), settings)
}

fn with_orders(app: App, settings: &str) -> App {
    app.pipeline(
        "orders",
        &format!(
            "worker = {{ plugin = \"relay\" }}\npartition_by = \"/user\"\n\
             retry = {{ max_attempts = 3, backoff_ms = 1 }}\n{settings}",
        ),
    )
}

pub(super) async fn client(server: &TestServer) -> TestClient {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client
}

/// Hands over an event; what comes of it answers the message with this `ref`.
pub(super) async fn enqueue(client: &mut TestClient, pipeline: &str, event: Value) -> String {
    client.push(TOPIC, "enqueue", json!({ "pipeline": pipeline, "event": event })).await
}

/// Hands over an event, and is answered.
pub(super) async fn asks(client: &mut TestClient, event: Value, status: &str, answer: Value) {
    let reference = enqueue(client, "orders", event).await;
    client.expect_reply(TOPIC, &reference, status, answer).await;
}

/// The socket ref of a message of this client.
async fn socket_ref(client: &mut TestClient) -> (String, Value) {
    let reference = client.push(TOPIC, "ref", json!({})).await;
    let reply = client.socket.recv_json().await;
    assert_eq!(reply[1], reference, "{reply}");
    (reference, reply[4]["response"]["ref"].clone())
}

#[tokio::test]
async fn who_hands_an_event_over_gets_what_the_worker_replies() {
    let server = app("").serve();
    let mut client = client(&server).await;
    asks(&mut client, json!({ "reply": { "id": 7 } }), "ok", json!({ "id": 7 })).await;
    let wrong = json!({ "error": "sold out" });
    asks(&mut client, json!({ "reply": wrong }), "error", wrong).await;
    // After it was tried again, too.
    asks(&mut client, json!({ "flaky": 2, "reply": { "id": 8 } }), "ok", json!({ "id": 8 })).await;
    let view = until(&server, "orders", |totals| totals["done"] == 3).await;
    assert_eq!(view["totals"]["retried"], 2, "{view}");
}

/// While they wait for one, clients get the answers to others.
#[tokio::test]
async fn replies_come_as_the_workers_are_done() {
    let gate = Gate::closed();
    let server = gated_app(&gate, "").serve();
    let mut client = client(&server).await;
    let slow = enqueue(&mut client, "orders", json!({ "wait_ms": 1, "reply": 1 })).await;
    let fast = enqueue(&mut client, "orders", json!({ "reply": 2 })).await;
    client.expect_reply(TOPIC, &fast, "ok", json!(2)).await;
    gate.open();
    client.expect_reply(TOPIC, &slow, "ok", json!(1)).await;
}

#[tokio::test]
async fn a_worker_pushes_and_answers_whom_it_knows_a_ref_of() {
    let server = app("").serve();
    let (mut ada, mut bob) = (client(&server).await, client(&server).await);
    let (reference, known) = socket_ref(&mut bob).await;
    let event = json!({ "push": known, "late": known, "tell": "relay:bob", "reply": 1 });
    bob.join("relay:bob").await;
    asks(&mut ada, event.clone(), "ok", json!(1)).await;
    bob.expect_push(TOPIC, "pushed", event.clone()).await;
    bob.expect_reply(TOPIC, &reference, "ok", event.clone()).await;
    bob.expect_broadcast("relay:bob", "told", event).await;
    ada.expect_nothing_from(TOPIC).await;
}

#[tokio::test]
async fn a_worker_hands_events_to_other_pipelines() {
    let server = App::relay()
        .pipeline(
            "orders",
            "worker = { plugin = \"relay\" }\n\
             [pipelines.bills]\nworker = { plugin = \"relay\" }\n",
        )
        .serve();
    let mut client = client(&server).await;
    let bill = json!({ "tell": TOPIC });
    let event = json!({ "on": { "pipeline": "bills", "event": bill } });
    client.push(TOPIC, "enqueue", json!({ "pipeline": "orders", "event": event })).await;
    client.expect_broadcast(TOPIC, "told", bill).await;
    until(&server, "orders", |totals| totals["done"] == 1).await;
    until(&server, "bills", |totals| totals["done"] == 1).await;
}

#[tokio::test]
async fn who_has_left_gets_nothing_and_nothing_breaks() {
    let gate = Gate::closed();
    let server = gated_app(&gate, "").serve();
    let mut leaver = client(&server).await;
    let (_, known) = socket_ref(&mut leaver).await;
    let event = json!({ "wait_ms": 1, "push": known, "late": known, "reply": 1 });
    for end in ["leaves", "goes"] {
        let mut client = client(&server).await;
        enqueue(&mut client, "orders", event.clone()).await;
        client.expect_nothing_from(TOPIC).await;
        if end == "leaves" {
            let reference = client.push(TOPIC, "phx_leave", json!({})).await;
            client.expect_reply(TOPIC, &reference, "ok", json!({})).await;
            client.expect_closed(TOPIC).await;
            gate.let_through(1).await;
            until(&server, "orders", |totals| totals["done"] == 1).await;
            client.expect_nothing().await;
        }
    }
    gate.open();
    // The one whose ref it is has stayed, and hears both.
    for _ in 0..2 {
        leaver.expect_push(TOPIC, "pushed", event.clone()).await;
        leaver.socket.recv_json().await;
    }
    drop(leaver);
    let mut other = client(&server).await;
    asks(&mut other, event, "ok", json!(1)).await;
    let view = until(&server, "orders", |totals| totals["done"] == 3).await;
    assert_eq!(view["totals"]["failed"], 0, "{view}");
}

#[tokio::test]
async fn a_timer_feeds_a_pipeline() {
    let server = app("[pipelines.orders.timer]\nevery_ms = 20\nkey = \"clock\"\n\
                      payload = { tell = \"relay:ada\", number = 7 }\n")
    .serve();
    let mut client = client(&server).await;
    for _ in 0..3 {
        let tick = json!({ "tell": TOPIC, "number": 7 });
        client.expect_broadcast(TOPIC, "told", tick).await;
    }
    until(&server, "orders", |totals| totals["done"].as_u64() >= Some(3)).await;
    // It ends with the server, which has nothing left then.
    drop(client);
    assert!(server.terminate().success());
}

/// A worker whose call takes too long is cut off, and its event tried again.
#[tokio::test]
async fn a_worker_that_takes_too_long_is_cut_off() {
    let server = App::relay()
        .pipeline(
            "orders",
            "worker = { plugin = \"relay\", timeout_ms = 50 }\n\
             retry = { max_attempts = 2, backoff_ms = 1 }\n",
        )
        .serve();
    let mut client = client(&server).await;
    let reference = enqueue(&mut client, "orders", json!({ "wait_ms": 60_000 })).await;
    let began = std::time::Instant::now();
    let reply = client.socket.recv_json().await;
    assert_eq!((&reply[1], &reply[4]["status"]), (&json!(reference), &json!("error")));
    let reason = reply[4]["response"]["reason"].as_str().unwrap();
    assert!(reason.contains("timeout_ms of the pipeline"), "{reply}");
    assert!(began.elapsed() < Duration::from_secs(30));
    until(&server, "orders", |totals| totals["failed"] == 1 && totals["retried"] == 1).await;
}
