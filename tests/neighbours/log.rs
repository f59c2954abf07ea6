//! The log: whoever reads it may stall or go away, and whoever is served does not notice;
//! what clients say does not look like a line of the server's own.

use std::time::{Duration, Instant};

use millrace_tests::{App, HttpRequest, Reader, TestServer};
use serde_json::json;

use crate::longest_ping;

/// As much as a request has room for.
fn long_origin() -> String {
    format!("http://{}.example", "x".repeat(8_000))
}

/// Handshakes that are refused, and of which each would be a line of 8 kB.
async fn refused_handshakes(server: &TestServer) {
    for _ in 0..40 {
        let page = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
        let refused = page.header("Origin", &long_origin()).send(server.address()).await;
        assert_eq!(refused.status, 403);
    }
}

async fn assert_healthy(server: &TestServer) {
    let health = HttpRequest::new("GET", "/health").send(server.address()).await;
    assert_eq!(health.status, 200);
}

#[tokio::test]
async fn a_reader_that_stalls_costs_lines_and_nothing_else() {
    let server = App::hostile().log_for(Reader::Stalled).serve();
    let (mut attacker, mut bystander) = (server.client().await, server.client().await);
    attacker.join("hostile:attacker").await;
    bystander.join("hostile:bystander").await;
    refused_handshakes(&server).await;
    // More than waits for a reader: 512 kB a second of lines of the plugin itself.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        let much = json!({ "n": 64, "bytes": 8_000 });
        attacker.expect_answer("hostile:attacker", "log", much, "ok", json!({})).await;
    }
    longest_ping(&mut bystander, "hostile:bystander", 20).await;
    assert_healthy(&server).await;
    server.read_log();
    server.wait_for_log("log lines were left out", 1);
    drop((attacker, bystander));
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_server_whose_log_nobody_reads_stops_in_good_order() {
    let server = App::hostile().log_for(Reader::Stalled).serve();
    let mut client = server.client().await;
    client.join("hostile:a").await;
    let much = json!({ "n": 64, "bytes": 8_000 });
    client.expect_answer("hostile:a", "log", much, "ok", json!({})).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_reader_that_has_gone_is_not_missed() {
    let server = App::probe().log_for(Reader::Gone).serve();
    let (mut attacker, mut bystander) = (server.client().await, server.client().await);
    attacker.join("room:attacker").await;
    bystander.join("room:bystander").await;
    refused_handshakes(&server).await;
    for _ in 0..3 {
        attacker.push("room:attacker", "crash", json!({})).await;
        attacker.expect_crashed("room:attacker").await;
        attacker.join("room:attacker").await;
    }
    longest_ping(&mut bystander, "room:bystander", 20).await;
    assert_healthy(&server).await;
    // It finishes what it has begun before it ends.
    let slow = bystander.push("room:bystander", "slow_ping", json!({ "ms": 300 })).await;
    bystander.expect_nothing().await;
    server.tell_to_stop();
    let answer = json!({ "ms": 300 });
    bystander.expect_reply("room:bystander", &slow, "ok", answer).await;
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn what_clients_and_plugins_say_does_not_begin_a_line() {
    const FORGED: &str = "2026-01-01T00:00:00.000000Z  INFO an operator asked peer=10.0.0.1:1";
    let server = App::hostile().plugin("probe", "tests/apps/probe").serve();
    let mut client = server.client().await;
    let topic = format!("room:x\n{FORGED}");
    client.join(&topic).await;
    client.push(&topic, "crash", json!({})).await;
    client.expect_crashed(&topic).await;
    client.join("hostile:a").await;
    let text = json!({ "text": format!("first\n{FORGED}\r\n\u{1b}[2K\u{2028}{FORGED}") });
    client.expect_answer("hostile:a", "log_text", text, "ok", json!({})).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let log = server.log();
    assert_eq!(log.matches(FORGED).count(), 3, "{log}");
    assert!(!log.lines().any(|line| line.trim_start().starts_with(FORGED)), "{log}");
    assert!(!log.contains(['\u{1b}', '\r', '\u{2028}']), "{log}");
    // A backtrace is the server's own, and stands below its line.
    assert!(log.contains("\n      at "), "{log}");
}

#[tokio::test]
async fn faults_that_a_client_causes_are_some_lines_a_second() {
    let server = App::probe().with("[socket]\nmax_faults = 1000").serve();
    let mut client = server.client().await;
    let began = Instant::now();
    for _ in 0..100 {
        client.join("room:a").await;
        client.push("room:a", "crash", json!({})).await;
        client.expect_crashed("room:a").await;
    }
    let seconds = began.elapsed().as_secs() as usize + 1;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let lines = server.log().matches("a call failed: ").count();
    assert!((1..=10 + 10 * seconds).contains(&lines), "{lines} in {seconds} s");
}

#[tokio::test]
async fn lines_of_a_plugin_are_bounded_and_those_of_the_server_are_there() {
    let server = App::hostile().serve();
    let mut client = server.client().await;
    let topic = "hostile:lines";
    client.join(topic).await;
    for _ in 0..100 {
        let order = json!({ "n": 64, "bytes": 4_000 });
        client.expect_answer(topic, "log", order, "ok", json!({})).await;
    }
    let begin = Instant::now();
    // The next that is written tells of those that were not.
    while !server.log().contains("it logged more than 1000 lines a second") {
        assert!(begin.elapsed() < Duration::from_secs(30));
        let order = json!({ "text": "one more" });
        client.expect_answer(topic, "log_text", order, "ok", json!({})).await;
    }
    // 25 MB were asked for.
    let bytes = server.log().len();
    assert!(bytes < 8_000_000, "{bytes} bytes");
}
