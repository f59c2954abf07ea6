//! Messages that are handled in one call of their plugin: each is a call of its own
//! for everybody who looks at it.

use millrace_tests::{App, Gate, TestClient};
use serde_json::{Value, json};

/// Waits until the gate is open, however many milliseconds it is told.
const SLOW: &str = "slow_ping";

/// Sends a message that waits at the gate and then `events`, which wait for it, and so are
/// handled together afterwards. The refs of `events`, once the first has been answered.
async fn behind(
    gate: &Gate,
    client: &mut TestClient,
    topic: &str,
    events: &[(&str, Value)],
) -> Vec<String> {
    let slow = json!({ "ms": 1 });
    let first = client.push(topic, SLOW, slow.clone()).await;
    let mut refs = Vec::new();
    for (event, payload) in events {
        refs.push(client.push(topic, event, payload.clone()).await);
    }
    // They have been read.
    client.expect_nothing().await;
    gate.let_through(1).await;
    client.expect_reply(topic, &first, "ok", slow).await;
    refs
}

#[tokio::test]
async fn each_sees_what_the_one_before_left() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:together-count";
    client.join(topic).await;
    let counts = vec![("count", json!({})); 200];
    let refs = behind(&gate, &mut client, topic, &counts).await;
    for (reference, count) in refs.iter().zip(1..) {
        client.expect_reply(topic, reference, "ok", json!({ "count": count })).await;
    }
}

#[tokio::test]
async fn answers_of_all_kinds_come_in_order() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:together-kinds";
    client.join(topic).await;
    let payload = json!({ "n": [1, "é", null] });
    let events = ["ping", "fail", "push_me", "shout", "no_such_event", "ping"];
    let events = events.map(|event| (event, payload.clone()));
    let refs = behind(&gate, &mut client, topic, &events).await;
    client.expect_reply(topic, &refs[0], "ok", payload.clone()).await;
    client.expect_reply(topic, &refs[1], "error", payload.clone()).await;
    client.expect_push(topic, "pushed", payload.clone()).await;
    client.expect_reply(topic, &refs[2], "ok", json!({})).await;
    client.expect_broadcast(topic, "shout", payload.clone()).await;
    client.expect_reply(topic, &refs[3], "ok", json!({})).await;
    let reason = json!({ "reason": "unknown event \"no_such_event\"" });
    client.expect_reply(topic, &refs[4], "error", reason).await;
    client.expect_reply(topic, &refs[5], "ok", payload).await;
}

#[tokio::test]
async fn one_that_waits_holds_up_those_behind_it_and_not_those_before() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let topic = "room:together-waits";
    client.join(topic).await;
    let slow = json!({ "ms": 1 });
    let events = [("count", json!({})), (SLOW, slow.clone()), ("count", json!({}))];
    let refs = behind(&gate, &mut client, topic, &events).await;
    client.expect_reply(topic, &refs[0], "ok", json!({ "count": 1 })).await;
    gate.until_waiting(1).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply(topic, &refs[1], "ok", slow).await;
    client.expect_reply(topic, &refs[2], "ok", json!({ "count": 2 })).await;
}

#[tokio::test]
async fn a_trap_takes_nothing_from_those_before_it() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    let topic = "room:together-crash";
    client.join(topic).await;
    other.join(topic).await;
    let shout = json!({ "n": 1 });
    let events =
        [("shout_others", shout.clone()), ("shout_then_crash", json!({})), ("ping", json!({}))];
    let refs = behind(&gate, &mut client, topic, &events).await;
    client.expect_reply(topic, &refs[0], "ok", json!({})).await;
    client.expect_crashed(topic).await;
    client.expect_unmatched(topic, &refs[2]).await;
    // Once, and nothing of the one that trapped.
    other.expect_broadcast(topic, "shout_others", shout).await;
    other.expect_nothing().await;
}

#[tokio::test]
async fn a_channel_that_stops_handles_nothing_behind_it() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    let topic = "room:together-stop";
    client.join(topic).await;
    other.join(topic).await;
    let events = [("stop", json!({})), ("shout_others", json!({}))];
    let refs = behind(&gate, &mut client, topic, &events).await;
    client.expect_reply(topic, &refs[0], "ok", json!({})).await;
    client.expect_closed(topic).await;
    client.expect_unmatched(topic, &refs[1]).await;
    other.expect_nothing().await;
}
