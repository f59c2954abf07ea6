//! How fast one client may send.

use std::time::{Duration, Instant};

use millrace_tests::App;
use serde_json::json;

#[tokio::test]
async fn who_sends_too_much_is_slowed_down_and_loses_nothing() {
    let server = App::probe().with("[socket]\nmax_messages_per_second = 20").serve();
    let (mut hasty, mut other) = (server.client().await, server.client().await);
    hasty.join("room:rate").await;
    other.join("room:rate").await;
    let begin = Instant::now();
    let mut pings = Vec::new();
    for number in 0..40 {
        pings.push(hasty.push("room:rate", "ping", json!({ "number": number })).await);
    }
    // Nobody else waits for it.
    for _ in 0..5 {
        other.expect_answer("room:rate", "ping", json!({}), "ok", json!({})).await;
    }
    for (number, ping) in pings.iter().enumerate() {
        hasty.expect_reply("room:rate", ping, "ok", json!({ "number": number })).await;
    }
    // The join was one of the twenty of the first second.
    assert!(begin.elapsed() >= Duration::from_millis(900), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn bytes_are_bounded_too_and_a_single_large_message_gets_through() {
    let server = App::probe().with("[socket]\nmax_bytes_per_second = 10_000").serve();
    let mut client = server.client().await;
    client.join("room:rate").await;
    let payload = json!({ "text": "x".repeat(12_000) });
    let begin = Instant::now();
    for _ in 0..2 {
        client.expect_answer("room:rate", "ping", payload.clone(), "ok", payload.clone()).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(100), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn what_is_broadcast_reaches_a_client_that_is_slowed_down() {
    let server = App::probe().with("[socket]\nmax_messages_per_second = 2").serve();
    let (mut hasty, mut other) = (server.client().await, server.client().await);
    hasty.join("room:rate").await;
    other.join("room:rate").await;
    let mut pings = Vec::new();
    for _ in 0..4 {
        pings.push(hasty.push("room:rate", "ping", json!({})).await);
    }
    other.push("room:rate", "shout_others", json!({})).await;
    let mut answered = 0;
    loop {
        let message = hasty.socket.recv_json().await;
        if message[3] == "shout_others" {
            break;
        }
        answered += 1;
    }
    assert!(answered < pings.len(), "the broadcast came after all that was slowed down");
}
