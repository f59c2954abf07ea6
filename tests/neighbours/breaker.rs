//! One client that makes a plugin trap does not have it held back for others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use millrace_tests::{App, TestClient};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

const HONEST: usize = 10;
/// Each of them pings so often.
const PACE: Duration = Duration::from_millis(50);
const ATTACK: Duration = Duration::from_secs(5);
const TOPICS: usize = 20;

/// Joins many topics, crashes in each, closes, and comes again; how often it crashed.
async fn attack(address: &str) -> usize {
    let (begin, mut crashes) = (Instant::now(), 0);
    while begin.elapsed() < ATTACK {
        let mut client = TestClient::connect(address).await;
        let topics: Vec<_> = (0..TOPICS).map(|topic| format!("hostile:{topic}")).collect();
        for topic in &topics {
            client.send_join(topic, json!({})).await;
        }
        for topic in &topics {
            client.push(topic, "crash", json!({})).await;
        }
        // To each join and to each crash.
        for _ in 0..2 * TOPICS {
            let answer = client.socket.recv_json().await;
            crashes += usize::from(answer[3] == "phx_error");
        }
    }
    crashes
}

/// Pings at its pace until the attack is over; how many were answered, all with `ok`.
async fn ping(mut client: TestClient, topic: String, is_over: Arc<AtomicBool>) -> usize {
    let (mut pace, mut pings) = (interval(PACE), 0);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !is_over.load(Ordering::Relaxed) {
        pace.tick().await;
        let payload = json!({ "n": pings });
        client.expect_answer(&topic, "ping", payload.clone(), "ok", payload).await;
        pings += 1;
    }
    pings
}

#[tokio::test]
async fn one_that_crashes_and_comes_again_has_nobody_else_held_back() {
    let server = App::hostile().serve();
    let is_over = Arc::new(AtomicBool::new(false));
    let mut honest = Vec::new();
    for number in 0..HONEST {
        let (mut client, topic) = (server.client().await, format!("hostile:honest-{number}"));
        client.join(&topic).await;
        honest.push(tokio::spawn(ping(client, topic, Arc::clone(&is_over))));
    }
    let crashes = attack(server.address()).await;
    // It may come in now, too: from the address of the one that crashed.
    server.client().await.join("hostile:late").await;
    is_over.store(true, Ordering::Relaxed);
    for pinging in honest {
        assert!(pinging.await.unwrap() > 10);
    }
    // Many enough to trip a breaker that counts nothing but faults.
    assert!(crashes > 120, "{crashes} crashes");
    assert!(!server.log().contains("too many calls trap"));
}
