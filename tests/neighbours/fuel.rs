//! What the host does for a plugin costs the plugin.

use std::time::{Duration, Instant};

use millrace_tests::{App, TestServer};
use serde_json::{Value, json};

use super::longest_ping;

const TOPIC: &str = "hostile:a";
/// One that is answered late is answered before this; without a price for what the host
/// does, bystanders waited for many times as long.
const LATE: Duration = Duration::from_secs(2);

/// Has a client do something while two others on each thread ping; how long the
/// bystanders' longest took, and what the attacker was answered.
async fn beside(server: &TestServer, event: &str, order: Value) -> (Duration, Value) {
    let mut attacker = server.client().await;
    attacker.join(TOPIC).await;
    let mut bystanders = Vec::new();
    for number in 0..8 {
        let (mut bystander, topic) = (server.client().await, format!("hostile:b{number}"));
        bystander.join(&topic).await;
        bystanders.push((bystander, topic));
    }
    attacker.push(TOPIC, event, order).await;
    let mut longest = Duration::ZERO;
    for _ in 0..20 {
        for (bystander, topic) in &mut bystanders {
            longest = longest.max(longest_ping(bystander, topic, 2).await);
        }
    }
    (longest, attacker.socket.recv_json().await)
}

#[tokio::test]
async fn host_calls_with_much_to_read_end_with_their_fuel() {
    let server = App::hostile().with("[limits]\ncall_timeout_ms = 5000\n").serve();
    for (event, order) in [
        ("log", json!({ "n": 1_000_000, "bytes": 20_000_000 })),
        ("count", json!({ "n": 1_000_000, "bytes": 20_000_000 })),
        ("set", json!({ "n": 1_000_000, "bytes": 20_000_000 })),
        ("config", json!({ "n": 1_000_000, "bytes": 20_000_000 })),
        ("random", json!({ "n": 1_000_000, "bytes": 4096 })),
        ("clock", json!({ "n": 100_000_000 })),
    ] {
        let (longest, answer) = beside(&server, event, order).await;
        assert!(longest < LATE, "{event}: a bystander's ping took {longest:?}");
        assert_eq!(answer[3], "phx_error", "{event}: {answer}");
    }
    assert!(server.log().contains("the call used up its fuel"), "{}", server.log());
}

#[tokio::test]
async fn what_fills_its_memory_again_and_again_ends_with_its_fuel() {
    let server = App::hostile().with("[limits]\ncall_timeout_ms = 5000\n").serve();
    let order = json!({ "n": 100_000, "bytes": 60_000_000 });
    let (longest, answer) = beside(&server, "fill", order).await;
    assert!(longest < LATE, "a bystander's ping took {longest:?}");
    assert_eq!(answer[3], "phx_error", "{answer}");
}

#[tokio::test]
async fn what_costs_more_time_than_fuel_ends_with_its_time() {
    let limits = "[limits]\nfuel = 1000000000000\ncall_timeout_ms = 500\n";
    let server = App::hostile().with(limits).serve();
    let begin = Instant::now();
    let order = json!({ "n": 1_000_000_000, "bytes": 8192 });
    let (longest, answer) = beside(&server, "stdout", order).await;
    assert!(longest < LATE, "a bystander's ping took {longest:?}");
    assert_eq!(answer[4]["response"], json!({ "reason": "handler timeout" }), "{answer}");
    assert!(begin.elapsed() < 10 * LATE, "the call took {:?}", begin.elapsed());
}

#[tokio::test]
async fn a_plugin_that_asks_for_little_is_not_charged_for_much() {
    let server = App::hostile().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    for (event, order) in [
        ("log", json!({ "n": 1000, "bytes": 1000 })),
        ("count", json!({ "n": 1000, "bytes": 20 })),
        ("clock", json!({ "n": 10_000 })),
        ("random", json!({ "n": 1000, "bytes": 32 })),
        ("stdout", json!({ "n": 1000, "bytes": 1000 })),
        ("flush", json!({ "n": 10 })),
    ] {
        let reference = client.push(TOPIC, event, order).await;
        loop {
            let answer = client.socket.recv_json().await;
            if answer[1] == json!(reference) {
                assert_eq!(answer[4]["status"], "ok", "{event}: {answer}");
                break;
            }
        }
    }
}
