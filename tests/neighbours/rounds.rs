//! Messages that are handled together share speed, not fate.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millrace_tests::{App, RawSocket, TestClient, opcode};
use serde_json::{Value, json};

use super::longest_ping;

const TOPIC: &str = "hostile:a";
/// The outgoing requests of `tests/apps/hostile`.
const HTTP: &str =
    "[plugins.hostile.http]\nhosts = [\"127.0.0.1:*\"]\naddresses = [\"127.0.0.1\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_of_some_do_not_crash_the_channels_of_others() {
    const UPLOADS: usize = 16;
    const VOLLEYS: usize = 4;
    let config = "[limits]\nmax_memory_bytes = 16777216\n";
    let server = App::probe().with(config).serve();
    for volley in 0..VOLLEYS {
        let (mut uploads, mut bystanders) = (Vec::new(), Vec::new());
        for number in 0..UPLOADS {
            let topic = format!("room:{volley}-{number}");
            let mut upload = RawSocket::connect(server.address()).await;
            let join = json!(["1", "1", topic, "phx_join", {}]).to_string();
            upload.send(opcode::TEXT, join.as_bytes()).await;
            upload.recv().await;
            let text = "x".repeat(1_500_000);
            let ping = json!(["1", "2", topic, "ping", { "text": text }]).to_string();
            let mut frame = RawSocket::frame(opcode::TEXT, ping.as_bytes());
            let last = frame.split_off(frame.len() - 2);
            upload.send_bytes(&frame).await;
            uploads.push((upload, last));
        }
        for number in 0..8 {
            let (mut bystander, topic) = (server.client().await, format!("room:b{number}"));
            bystander.join(&topic).await;
            bystanders.push((bystander, topic));
        }
        let mut sent = Vec::new();
        for (bystander, topic) in &mut bystanders {
            sent.push(bystander.push(topic, "ping", json!({})).await);
        }
        for (upload, last) in &mut uploads {
            upload.send_bytes(last).await;
        }
        for ((bystander, topic), reference) in bystanders.iter_mut().zip(sent) {
            bystander.expect_reply(topic, &reference, "ok", json!({})).await;
        }
        for (upload, _) in &mut uploads {
            let (_, answer) = upload.recv().await;
            assert!(
                String::from_utf8_lossy(&answer).contains("\"status\":\"ok\""),
                "an upload is answered"
            );
        }
    }
    assert!(!server.log().contains("cause="), "{}", server.log());
}

#[tokio::test]
async fn large_messages_behind_a_slow_one_are_handled_in_order() {
    let server = App::hostile().with("[limits]\nmax_memory_bytes = 16777216\n").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let slow = client.push(TOPIC, "sleep", json!({ "ms": 300 })).await;
    let mut sent = Vec::new();
    for number in 0..30 {
        let payload = json!({ "number": number, "text": "x".repeat(700_000) });
        sent.push((client.push(TOPIC, "ping", payload.clone()).await, payload));
    }
    client.expect_reply(TOPIC, &slow, "ok", json!({})).await;
    for (reference, payload) in sent {
        client.expect_reply(TOPIC, &reference, "ok", payload).await;
    }
}

#[tokio::test]
async fn one_that_traps_first_is_the_only_one_that_is_failed() {
    let server = App::hostile().serve();
    let mut client = server.client().await;
    // In one frame each, and so in one round as a rule.
    let topics: Vec<String> = (0..8).map(|number| format!("hostile:{number}")).collect();
    for topic in &topics {
        client.join(topic).await;
    }
    for _ in 0..5 {
        let [first, others @ ..] = topics.as_slice() else { panic!("there are topics") };
        client.push(first, "crash", json!({})).await;
        let mut sent = Vec::new();
        for topic in others {
            sent.push((topic, client.push(topic, "ping", json!({ "a": 1 })).await));
        }
        client.expect_crashed(first).await;
        for (topic, reference) in sent {
            client.expect_reply(topic, &reference, "ok", json!({ "a": 1 })).await;
        }
        client.join(first).await;
    }
}

/// Keeps `in_flight` calls that compute under way, and counts those that are answered.
fn attack(mut client: TestClient, in_flight: usize, turns: usize, answered: Arc<AtomicUsize>) {
    tokio::spawn(async move {
        client.join(TOPIC).await;
        // Nothing is parsed or written anew: it is the server that has to be busy.
        let join_ref = client.join_ref(TOPIC);
        let burn = json!([join_ref, "1", TOPIC, "burn", { "n": turns }]).to_string();
        for _ in 0..in_flight {
            client.socket.send_text(burn.as_str()).await;
        }
        loop {
            client.socket.recv().await;
            answered.fetch_add(1, Ordering::Relaxed);
            client.socket.send_text(burn.as_str()).await;
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_one_slice_in_a_turn_however_many_messages_it_sends() {
    const ATTACKERS: usize = 20;
    /// Just under a slice of fuel: 92,000 units.
    const TURNS: usize = 12_100;
    let server = App::hostile().serve();
    let answered = Arc::<AtomicUsize>::default();
    for _ in 0..ATTACKERS {
        attack(server.client().await, 64, TURNS, Arc::clone(&answered));
    }
    let (mut bystander, topic) = (server.client().await, "hostile:bystander");
    bystander.join(topic).await;
    let mut meanwhile = Vec::new();
    for _ in 0..100 {
        let before = answered.load(Ordering::Relaxed);
        bystander.expect_answer(topic, "ping", json!({}), "ok", json!({})).await;
        meanwhile.push(answered.load(Ordering::Relaxed) - before);
    }
    meanwhile.sort_unstable();
    // All of theirs, if all that was read is handled before any of it is answered.
    let median = meanwhile[meanwhile.len() / 2];
    assert!(median < ATTACKERS * 64 / 4, "{median} of the others' for one of the bystander's");
}

#[tokio::test]
async fn requests_with_too_many_headers_are_refused() {
    let server = App::hostile().with(HTTP).serve();
    let (mut attacker, mut bystander) = (server.client().await, server.client().await);
    attacker.join(TOPIC).await;
    bystander.join("hostile:b").await;
    let order = json!({ "text": "http://127.0.0.1:9/", "n": 24_577 });
    let refused = |answer: &Value| answer.to_string().contains("24577 fields of headers");
    attacker.push(TOPIC, "headers", order.clone()).await;
    let answer = attacker.socket.recv_json().await;
    assert!(refused(&answer), "{answer}");
    // So that the request is made in the first slice of its call, within a round.
    for _ in 0..4 {
        attacker.push(TOPIC, "prepare_headers", order.clone()).await;
        attacker.socket.recv_json().await;
        attacker.push(TOPIC, "send_prepared", json!({})).await;
        longest_ping(&mut bystander, "hostile:b", 10).await;
        let answer = attacker.socket.recv_json().await;
        assert!(refused(&answer), "{answer}");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
