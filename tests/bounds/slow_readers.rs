//! Clients that do not read, under each policy.

use millrace_tests::{App, TestClient, TestServer};
use serde_json::{Value, json};

const TOPIC: &str = "room:flood";

fn app(policy: &str) -> App {
    App::probe().with(&format!(
        "[socket]\noutbox_bytes = 200_000\n\
         [[socket.outbox_policies]]\ntopics = \"room:*\"\npolicy = \"{policy}\""
    ))
}

/// Broadcasts until far more was sent than a connection and its outbox hold.
async fn flood(server: &TestServer) -> usize {
    let mut speaker = server.client().await;
    speaker.join(TOPIC).await;
    const SHOUTS: usize = 200;
    for number in 0..SHOUTS {
        let payload = json!({ "number": number, "text": "x".repeat(50_000) });
        let shout = speaker.push(TOPIC, "shout_others", payload).await;
        speaker.expect_reply(TOPIC, &shout, "ok", json!({})).await;
    }
    SHOUTS
}

/// The numbers of the broadcasts a client finds when it reads again.
async fn heard(client: &mut TestClient, last: usize) -> Vec<usize> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let message: Value = client.socket.recv_json().await;
        assert_eq!(message[3], "shout_others", "{message}");
        let number = message[4]["number"].as_u64().unwrap();
        numbers.push(usize::try_from(number).unwrap());
    }
    numbers
}

#[tokio::test]
async fn drop_oldest_leaves_a_gap_and_keeps_the_end() {
    let server = app("drop_oldest").serve();
    let mut deaf = TestClient::deaf(&server, TOPIC).await;
    let shouts = flood(&server).await;
    let numbers = heard(&mut deaf, shouts - 1).await;
    assert!(numbers.len() < shouts, "it heard everything although it did not read");
    assert!(numbers.is_sorted(), "{numbers:?}");
    // Some wait at the end without a gap: what the outbox holds.
    assert_eq!(numbers[numbers.len() - 2], shouts - 2);
    deaf.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
}

#[tokio::test]
async fn conflate_keeps_the_latest() {
    let server = app("conflate").serve();
    let mut deaf = TestClient::deaf(&server, TOPIC).await;
    let shouts = flood(&server).await;
    let numbers = heard(&mut deaf, shouts - 1).await;
    assert!(numbers.len() < shouts, "it heard everything although it did not read");
    assert!(numbers.is_sorted(), "{numbers:?}");
    // Behind what was on its way already only the last one waited.
    assert!(numbers[numbers.len() - 2] < shouts - 2, "{numbers:?}");
    deaf.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
}

#[tokio::test]
async fn replies_are_never_dropped() {
    let server = app("drop_oldest").serve();
    let mut deaf = TestClient::deaf(&server, TOPIC).await;
    let ping = deaf.push(TOPIC, "ping", json!({ "before": true })).await;
    deaf.expect_reply(TOPIC, &ping, "ok", json!({ "before": true })).await;
    let mut speaker = server.client().await;
    speaker.join(TOPIC).await;
    let mut asked = Vec::new();
    for number in 0..100 {
        asked.push(deaf.push(TOPIC, "ping", json!({ "number": number })).await);
        let payload = json!({ "text": "x".repeat(50_000) });
        let shout = speaker.push(TOPIC, "shout_others", payload).await;
        speaker.expect_reply(TOPIC, &shout, "ok", json!({})).await;
    }
    let (mut replies, mut broadcasts) = (Vec::new(), 0);
    while replies.len() < asked.len() {
        let message = deaf.socket.recv_json().await;
        match message[3].as_str() {
            Some("phx_reply") => replies.push(message[1].as_str().unwrap().to_owned()),
            _ => broadcasts += 1,
        }
    }
    assert_eq!(replies, asked);
    assert!(broadcasts < 100, "it heard everything although it did not read");
}

#[tokio::test]
async fn clients_that_do_not_read_cost_no_more_memory_than_they_are_allowed() {
    let server = app("drop_oldest").serve();
    let mut deaf_ones = Vec::new();
    for _ in 0..10 {
        deaf_ones.push(TestClient::deaf(&server, TOPIC).await);
    }
    flood(&server).await;
    let before = server.resident_bytes();
    for _ in 0..3 {
        flood(&server).await;
    }
    let grown = server.resident_bytes().saturating_sub(before);
    // Thirty megabytes were broadcast meanwhile, to ten clients each.
    assert!(grown < 8_000_000, "{grown} bytes more");
}
