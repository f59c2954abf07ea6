//! Clients that do not read, under each policy.

use millrace_tests::{TestClient, TestServer, TestSocket};
use serde_json::{Value, json};
use tokio::net::TcpSocket;

const TOPIC: &str = "room:flood";

fn server(policy: &str) -> TestServer {
    TestServer::with_config(&format!(
        "[socket]\noutbox_bytes = 200_000\n\
         [[socket.outbox_policies]]\ntopics = \"room:*\"\npolicy = \"{policy}\""
    ))
}

/// A joined client whose end of the connection takes little that it does not
/// read.
async fn deaf(server: &TestServer) -> TestClient {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(16_384).unwrap();
    let tcp = tcp.connect(server.address().parse().unwrap()).await.unwrap();
    let mut client = TestClient::over(TestSocket::over(tcp, "/socket/websocket?vsn=2.0.0").await);
    client.join(TOPIC).await;
    client
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
    let server = server("drop_oldest");
    let mut deaf = deaf(&server).await;
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
    let server = server("conflate");
    let mut deaf = deaf(&server).await;
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
    let server = server("drop_oldest");
    let mut deaf = deaf(&server).await;
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

/// Resident memory of the server, in bytes.
fn rss(server: &TestServer) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[tokio::test]
async fn clients_that_do_not_read_cost_no_more_memory_than_they_are_allowed() {
    let server = server("drop_oldest");
    let mut deaf_ones = Vec::new();
    for _ in 0..10 {
        deaf_ones.push(deaf(&server).await);
    }
    flood(&server).await;
    let before = rss(&server);
    for _ in 0..3 {
        flood(&server).await;
    }
    let grown = rss(&server).saturating_sub(before);
    // Thirty megabytes were broadcast meanwhile, to ten clients each.
    assert!(grown < 8_000_000, "{grown} bytes more");
}
