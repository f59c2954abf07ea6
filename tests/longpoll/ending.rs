//! The end of sessions: of one user, of a slow client, of the server.

use millrace_tests::{App, Gate, HttpRequest, TestServer, eventually};
use serde_json::{Value, json};

use crate::client::{Client, only};

async fn disconnect(server: &TestServer, user: &str) -> Value {
    let body = json!({ "user": user }).to_string();
    let request = HttpRequest::new("POST", "/disconnect").body("application/json", &body);
    request.send(server.admin()).await.json()
}

#[tokio::test]
async fn a_user_who_is_disconnected_is_told_at_once() {
    let server = App::slow().admin().serve();
    let mut client = Client::with_query(&server, "vsn=2.0.0&user=ada").await;
    client.join("slow:a").await;
    let poll = client.waiting_poll().await;
    assert_eq!(disconnect(&server, "ada").await, json!({ "closed": 1 }));
    // After this, phoenix.js of every version makes a new session and joins again.
    assert_eq!(poll.await.json(), only(500));
    let gone = async || (client.post("").await == only(410)).then_some(());
    eventually("the session is gone", gone).await;
}

#[tokio::test]
async fn a_slow_client_is_closed_at_its_outbox_bound() {
    let server = App::probe().with("[socket]\noutbox_bytes = 200_000").admin().serve();
    let mut deaf = Client::connect(&server).await;
    deaf.join("room:a").await;
    let mut speaker = server.client().await;
    speaker.join("room:a").await;
    for _ in 0..20 {
        let payload = json!({ "text": "x".repeat(50_000) });
        let shout = speaker.push("room:a", "shout_others", payload).await;
        speaker.expect_reply("room:a", &shout, "ok", json!({})).await;
    }
    let gone = async || (deaf.post("").await == only(410)).then_some(());
    eventually("the session is closed", gone).await;
    assert_eq!(deaf.poll().await["status"], 410);
}

#[tokio::test]
async fn a_slow_client_keeps_its_session_if_messages_may_be_dropped() {
    let policy = "[[socket.outbox_policies]]\ntopics = \"room:*\"\npolicy = \"drop_oldest\"";
    let server = App::probe().with("[socket]\noutbox_bytes = 200_000").with(policy).serve();
    let mut slow = Client::connect(&server).await;
    slow.join("room:a").await;
    let mut speaker = server.client().await;
    speaker.join("room:a").await;
    for number in 0..40 {
        let payload = json!({ "number": number, "text": "x".repeat(50_000) });
        let shout = speaker.push("room:a", "shout_others", payload).await;
        speaker.expect_reply("room:a", &shout, "ok", json!({})).await;
    }
    let mut numbers = Vec::new();
    while numbers.last() != Some(&39) {
        numbers.push(slow.next().await[4]["number"].as_u64().unwrap());
    }
    assert!(numbers.len() < 40 && numbers.is_sorted(), "{numbers:?}");
    slow.expect_nothing().await;
}

#[tokio::test]
async fn calls_in_flight_are_answered_before_the_server_stops() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).with("[drain]\nover_ms = 0").serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    client.push("room:a", "slow_ping", json!({ "ms": 1 })).await;
    gate.until_waiting(1).await;
    let poll = client.waiting_poll().await;
    server.tell_to_stop();
    server.wait_for_log("stopping connections=1", 1);
    gate.open();
    client.take(&poll.await.json());
    client.expect_reply("ok", json!({ "ms": 1 })).await;
    // The last poll comes on a new connection, and is told of the end.
    let last = client.send(&client.get()).await;
    assert_eq!((last.status, last.json()), (200, only(500)));
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn a_poll_that_waits_is_told_that_the_server_stops() {
    let server = App::probe().with("[drain]\nover_ms = 0").serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    let poll = client.waiting_poll().await;
    server.tell_to_stop();
    assert_eq!(poll.await.json(), only(500));
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn what_waits_between_two_polls_is_there_for_the_last_one() {
    let server = App::probe().with("[drain]\nover_ms = 0").serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    let mut speaker = server.client().await;
    speaker.join("room:a").await;
    let shout = speaker.push("room:a", "shout_others", json!({ "n": 1 })).await;
    speaker.expect_reply("room:a", &shout, "ok", json!({})).await;
    server.tell_to_stop();
    server.wait_for_log("stopping connections=2", 1);
    client.expect_event("shout_others", json!({ "n": 1 })).await;
    assert_eq!(client.poll().await, only(500));
}
