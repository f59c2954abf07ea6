//! How a server stops.

use millrace_tests::{App, Gate};
use serde_json::json;

#[tokio::test]
async fn calls_in_flight_are_answered_before_the_connection_is_closed() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).with("[drain]\nover_ms = 0").serve();
    let mut client = server.client().await;
    client.join("room:a").await;
    let slow = client.push("room:a", "slow_ping", json!({ "ms": 1 })).await;
    gate.until_waiting(1).await;
    server.tell_to_stop();
    server.wait_for_log("stopping connections=1", 1);
    gate.open();
    client.expect_reply("room:a", &slow, "ok", json!({ "ms": 1 })).await;
    let (code, reason) = client.socket.expect_close().await;
    assert_eq!(code, 1012, "{reason}");
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn calls_that_do_not_end_are_cut_off() {
    let server = App::probe().with("[drain]\ntimeout_ms = 200").serve();
    let mut client = server.client().await;
    client.join("room:a").await;
    client.push("room:a", "slow_ping", json!({ "ms": 3_600_000 })).await;
    client.expect_nothing().await;
    server.tell_to_stop();
    let (code, reason) = client.socket.expect_close().await;
    assert_eq!(code, 1012, "{reason}");
    assert_eq!(server.wait().code(), Some(0));
    assert!(server.log().contains("did not end in time (drain.timeout_ms)"), "{}", server.log());
}

#[tokio::test]
async fn many_connections_are_closed_in_batches_and_idle_ones_too() {
    let server = App::probe().with("[drain]\nover_ms = 600").serve();
    let mut clients = Vec::new();
    for _ in 0..250 {
        clients.push(server.client().await);
    }
    server.tell_to_stop();
    for client in &mut clients {
        let (code, reason) = client.socket.expect_close().await;
        assert_eq!(code, 1012, "{reason}");
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let server = App::probe().with("[drain]\ntimeout_ms = 3600000").serve();
    let mut client = server.client().await;
    client.join("room:a").await;
    client.push("room:a", "slow_ping", json!({ "ms": 3_600_000 })).await;
    client.expect_nothing().await;
    server.tell_to_stop();
    server.wait_for_log("a second Ctrl-C or SIGTERM ends it at once", 1);
    server.tell_to_stop();
    assert_eq!(server.wait().code(), Some(1));
    assert!(server.log().contains("ended at the second signal"), "{}", server.log());
}
