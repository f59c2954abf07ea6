//! A heartbeat is answered, whatever else goes on.

use millrace_tests::{App, Gate, TestServer};
use serde_json::json;

#[tokio::test]
async fn a_heartbeat_is_answered_without_a_join_ref() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let ok = json!({ "status": "ok", "response": {} });
    for heartbeat in [
        json!([null, "1", "phoenix", "heartbeat", {}]),
        // As the crate phyllo sends it.
        json!([0, 2, "phoenix", "heartbeat", null]),
        json!(["7", "3", "phoenix", "heartbeat", { "any": ["thing"] }]),
    ] {
        client.socket.send_json(&heartbeat).await;
        client.socket.expect(json!([null, heartbeat[1], "phoenix", "phx_reply", ok])).await;
    }
}

#[tokio::test]
async fn the_topic_of_heartbeats_knows_nothing_else() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    for event in ["ping", "phx_close"] {
        let reference = client.push("phoenix", event, json!({})).await;
        client.expect_unmatched("phoenix", &reference).await;
    }
}

#[tokio::test]
async fn heartbeats_do_not_wait_for_a_slow_join() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    let join = client.send_join("room:heartbeat-join", json!({ "slow_ms": 1 })).await;
    gate.until_waiting(1).await;
    for _ in 0..10 {
        client.expect_nothing().await;
    }
    gate.open();
    client.expect_reply("room:heartbeat-join", &join, "ok", json!({})).await;
}

#[tokio::test]
async fn heartbeats_do_not_wait_for_a_handler_that_spins() {
    let server = App::probe().with("[limits]\nfuel = 20_000_000_000").serve();
    let mut client = server.client().await;
    client.join("room:heartbeat-spin").await;
    client.push("room:heartbeat-spin", "spin", json!({})).await;
    // The spinning, some seconds of it, would come to its end first.
    for _ in 0..10 {
        client.expect_nothing().await;
    }
    drop(server);
}
