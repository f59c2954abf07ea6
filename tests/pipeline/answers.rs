//! Whoever waits for an event is told when nothing comes of it.

use millrace_tests::{App, Gate, TestClient};
use serde_json::json;

use super::relay::{TOPIC, app, asks, client, enqueue, gated_app};
use super::{until, until_letters};

#[tokio::test]
async fn an_event_that_is_dropped_or_given_up_answers_with_the_reason() {
    let server = app("").serve();
    let mut client = client(&server).await;
    for (event, reason) in [
        (json!({ "drop": "nobody wants it" }), "nobody wants it"),
        (json!({ "fail": "no such order" }), "no such order"),
        (json!({ "flaky": 9 }), "attempt 3 of a flaky event"),
    ] {
        asks(&mut client, event, "error", json!({ "reason": reason })).await;
    }
    let reference = enqueue(&mut client, "orders", json!({ "crash": true })).await;
    let reply = client.socket.recv_json().await;
    assert_eq!((&reply[1], &reply[4]["status"]), (&json!(reference), &json!("error")), "{reply}");
    let reason = reply[4]["response"]["reason"].as_str().unwrap();
    assert!(reason.contains("this event crashes its worker"), "{reply}");
    let view = until(&server, "orders", |totals| totals["failed"] == 3).await;
    assert_eq!(view["totals"]["dropped"]["worker"], 1, "{view}");
    until_letters(&server, "orders", 3).await;
}

/// As many events as the workers take wait at the gate.
async fn ten_in_work(gate: &Gate, client: &mut TestClient) {
    for number in 1..=10 {
        enqueue(client, "orders", json!({ "wait_ms": 1 })).await;
        gate.until_waiting(number).await;
    }
}

#[tokio::test]
async fn an_event_that_finds_no_room_answers_when_to_come_again() {
    let gate = Gate::closed();
    let server = gated_app(&gate, "buffer = { size = 1 }\n").serve();
    let mut client = client(&server).await;
    ten_in_work(&gate, &mut client).await;
    enqueue(&mut client, "orders", json!({})).await;
    until(&server, "orders", |totals| totals["buffered"] == 1).await;
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 1000 });
    asks(&mut client, json!({}), "error", overloaded).await;
    let view = until(&server, "orders", |totals| totals["rejected"] == 1).await;
    assert_eq!(view["totals"]["accepted"], 11, "{view}");
}

#[tokio::test]
async fn an_event_that_gives_way_to_others_answers_so() {
    for (keep, reason) in [("first", "newest"), ("last", "oldest")] {
        let gate = Gate::closed();
        let buffer = format!("buffer = {{ size = 1, keep = {keep:?} }}\n");
        let server = gated_app(&gate, &buffer).serve();
        let mut client = client(&server).await;
        ten_in_work(&gate, &mut client).await;
        let older = enqueue(&mut client, "orders", json!({})).await;
        let newer = enqueue(&mut client, "orders", json!({})).await;
        let gives_way = if keep == "first" { newer } else { older };
        client.expect_reply(TOPIC, &gives_way, "error", json!({ "reason": reason })).await;
    }
}

#[tokio::test]
async fn an_event_that_waited_too_long_answers_so() {
    let server = app("deadline_ms = 100\nordered = true\n").serve();
    let mut client = client(&server).await;
    let slow = json!({ "user": "ada", "wait_ms": 400, "reply": 1 });
    let first = enqueue(&mut client, "orders", slow).await;
    let second = enqueue(&mut client, "orders", json!({ "user": "ada", "reply": 2 })).await;
    client.expect_reply(TOPIC, &first, "ok", json!(1)).await;
    let reason = json!({ "reason": "it waited longer than deadline_ms" });
    client.expect_reply(TOPIC, &second, "error", reason).await;
    until(&server, "orders", |totals| totals["dropped"]["expired"] == 1).await;
}

/// As over HTTP.
#[tokio::test]
async fn an_event_that_is_too_large_is_refused() {
    let server = app("buffer = { max_event_bytes = 100 }\n").serve();
    let mut client = client(&server).await;
    let event = json!({ "reply": "x".repeat(200) });
    let bytes = event.to_string().len();
    let reason = format!("the event has {bytes} bytes, allowed are 100 (buffer.max_event_bytes)");
    asks(&mut client, event, "error", json!({ "reason": reason })).await;
    asks(&mut client, json!({ "reply": 1 }), "ok", json!(1)).await;
    until(&server, "orders", |totals| totals["rejected"] == 1 && totals["accepted"] == 1).await;
}

#[tokio::test]
async fn a_pipeline_that_is_not_there_answers_so() {
    let server = App::relay().serve();
    let mut client = client(&server).await;
    let reference = enqueue(&mut client, "none", json!({})).await;
    let answer = json!({ "reason": "no such pipeline" });
    client.expect_reply(TOPIC, &reference, "error", answer).await;
    server.wait_for_log("there is no such pipeline", 1);
}
