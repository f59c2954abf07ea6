//! The events that a client makes up: what they leave in the server, and what they
//! hide.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_tests::App;
use serde_json::json;

use crate::longest_ping;

#[tokio::test]
async fn a_long_event_closes_its_connection_and_leaves_nothing_behind() {
    const MEGABYTES: usize = 8;
    let server = App::probe().admin().serve();
    let mut bystander = server.client().await;
    bystander.join("room:bystander").await;
    let before = server.resident_bytes();
    for number in 0..30 {
        let long = format!("{number}{}", "x".repeat(MEGABYTES << 20));
        let (code, reason) = if number % 2 == 0 {
            let mut attacker = server.client().await;
            attacker.join("room:attacker").await;
            attacker.push("room:attacker", &long, json!({})).await;
            attacker.socket.expect_close().await
        } else {
            let mut attacker = server.v1_socket().await;
            let join = json!({ "topic": "room:a", "event": "phx_join", "payload": {}, "ref": "1" });
            attacker.send_json(&join).await;
            attacker.recv_json().await;
            let event = json!({ "topic": "room:a", "event": long, "payload": {}, "ref": "2" });
            attacker.send_json(&event).await;
            attacker.expect_close().await
        };
        assert_eq!(code, 1007, "{reason}");
        assert!(reason.contains("an event may have at most 255 bytes, found 838"), "{reason}");
    }
    // Kept, they would be twice 240 MB.
    let grown = server.resident_bytes().saturating_sub(before) >> 20;
    assert!(grown < 120, "the server has grown by {grown} MB");
    assert!(longest_ping(&mut bystander, "room:bystander", 20).await < Duration::from_secs(2));
}

/// How often each event was measured so far, by its name.
async fn measured(statsd: &tokio::net::UdpSocket, wanted: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut datagram = vec![0; 65_536];
    while !found.contains_key(wanted) {
        let length = statsd.recv(&mut datagram).await.unwrap();
        let text = String::from_utf8_lossy(&datagram[..length]).into_owned();
        for line in text.lines().filter(|line| line.contains(".channel.in.")) {
            let name = line.split(':').next().unwrap();
            *found.entry(name.rsplit('.').next().unwrap().to_owned()).or_default() += 1;
        }
    }
    found
}

#[tokio::test]
async fn junk_events_take_no_place_of_those_that_a_plugin_knows() {
    let statsd = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = statsd.local_addr().unwrap();
    let server = App::probe().statsd(&address.to_string()).serve();
    let mut attacker = server.client().await;
    attacker.join("room:attacker").await;
    for number in 0..60 {
        attacker.push("room:attacker", &format!("junk{number}"), json!({})).await;
        let answer = attacker.socket.recv_json().await;
        assert_eq!(answer[4]["status"], "error", "{answer}");
    }
    let mut bystander = server.client().await;
    bystander.join("room:bystander").await;
    assert!(longest_ping(&mut bystander, "room:bystander", 5).await < Duration::from_secs(2));
    let found = tokio::time::timeout(Duration::from_secs(20), measured(&statsd, "ping")).await;
    let found = found.expect("the pings of a bystander are told apart");
    assert!(!found.keys().any(|name| name.starts_with("junk")), "{found:?}");
}
