//! Instances are shared fairly between connections, calls and tasks.

use std::time::{Duration, Instant};

use millrace_tests::{App, HttpRequest, TestClient, TestServer};
use serde_json::json;

use crate::longest_ping;

/// Longer than a test takes, and shorter than a call may.
const LONG_MS: u64 = 20_000;
/// A bystander is answered within it; where instances are not shared, after [`LONG_MS`].
const PROMPTLY: Duration = Duration::from_secs(4);

/// All of it has begun by then.
const BEGUN: Duration = Duration::from_secs(3);

/// A client that has joined so many topics, `hostile:NUMBER-…`.
async fn joined(server: &TestServer, number: usize, topics: usize) -> (TestClient, Vec<String>) {
    let mut client = server.client().await;
    let topics: Vec<_> = (0..topics).map(|topic| format!("hostile:{number}-{topic}")).collect();
    for topic in &topics {
        client.join(topic).await;
    }
    (client, topics)
}

/// A client that has started so many tasks, on two topics.
async fn starts_tasks(server: &TestServer, number: usize, tasks: usize) -> TestClient {
    let (mut client, topics) = joined(server, number, 2).await;
    for topic in topics.iter().cycle().take(tasks) {
        client.push(topic, "task", json!({ "text": "sleep", "ms": LONG_MS })).await;
    }
    settled(&mut client).await;
    client
}

/// What the client has sent has been read.
async fn settled(client: &mut TestClient) {
    let heartbeat = client.heartbeat().await;
    client.expect_heartbeat(&heartbeat).await;
}

/// One who was there before is answered, and one who comes now may join.
async fn expect_served(server: &TestServer, bystander: &mut TestClient, topic: &str) {
    let (begin, mut longest) = (Instant::now(), Duration::ZERO);
    // What the others have sent is begun one after the other.
    while begin.elapsed() < BEGUN {
        longest = longest.max(longest_ping(bystander, topic, 20).await);
    }
    let begin = Instant::now();
    server.client().await.join("hostile:newcomer").await;
    let joined = begin.elapsed();
    assert!(longest < PROMPTLY && joined < PROMPTLY, "ping {longest:?}, join {joined:?}");
}

#[tokio::test]
async fn tasks_of_two_clients_leave_others_their_calls() {
    let server = App::hostile().serve();
    let (mut bystander, topics) = joined(&server, 0, 1).await;
    let _first = starts_tasks(&server, 1, 1_024).await;
    let _second = starts_tasks(&server, 2, 1_024).await;
    expect_served(&server, &mut bystander, &topics[0]).await;
}

#[tokio::test]
async fn tasks_of_many_clients_leave_others_their_calls() {
    let server = App::hostile().with("[limits]\nmax_instances = 100").serve();
    let (mut bystander, topics) = joined(&server, 0, 1).await;
    let mut others = Vec::new();
    for number in 1..=20 {
        others.push(starts_tasks(&server, number, 20).await);
    }
    expect_served(&server, &mut bystander, &topics[0]).await;
}

#[tokio::test]
async fn tasks_of_some_clients_leave_others_their_tasks() {
    // Few instances, and few tasks.
    for limits in ["max_task_instances = 96", "max_tasks = 64"] {
        let server = App::hostile().with(&format!("[limits]\n{limits}")).serve();
        let (mut bystander, topics) = joined(&server, 0, 1).await;
        let mut others = Vec::new();
        for number in 1..=4 {
            let (mut client, topics) = joined(&server, number, 2).await;
            for topic in topics.iter().cycle().take(200) {
                client.push(topic, "task", json!({ "text": "sleep", "ms": LONG_MS })).await;
            }
            // Those above the limit are answered at once.
            let heartbeat = client.heartbeat().await;
            while client.socket.recv_json().await[1] != heartbeat {}
            others.push(client);
        }
        for _ in 0..10 {
            let begin = Instant::now();
            loop {
                let task = json!({ "text": "sleep", "ms": 1 });
                bystander.push(&topics[0], "task", task).await;
                let answer = bystander.socket.recv_json().await;
                let took = begin.elapsed();
                assert!(took < PROMPTLY, "{limits}: {took:?}, {answer}");
                // The one before has been answered, and may not be over.
                if answer[4]["status"] == "ok" {
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn slow_calls_of_many_clients_leave_others_theirs() {
    let server = App::hostile().with("[limits]\nmax_instances = 400").serve();
    let (mut bystander, topics) = joined(&server, 0, 1).await;
    let mut others = Vec::new();
    for number in 1..=21 {
        let (mut client, topics) = joined(&server, number, 20).await;
        for topic in &topics {
            client.push(topic, "sleep", json!({ "ms": LONG_MS })).await;
        }
        settled(&mut client).await;
        others.push(client);
    }
    expect_served(&server, &mut bystander, &topics[0]).await;
}

#[tokio::test]
async fn a_thousand_tasks_of_one_client_wait_at_the_same_time() {
    let server = App::hostile().serve();
    let (mut client, topics) = joined(&server, 1, 2).await;
    let begin = Instant::now();
    for topic in topics.iter().cycle().take(1_000) {
        client.push(topic, "task", json!({ "text": "sleep", "ms": 4_000 })).await;
    }
    for _ in 0..1_000 {
        assert_eq!(client.socket.recv_json().await[4]["status"], "ok");
    }
    // In two halves it would be eight seconds.
    let took = begin.elapsed();
    assert!(took < Duration::from_millis(7_500), "{took:?}");
}

#[tokio::test]
async fn a_call_that_was_never_begun_is_answered_so() {
    let server = App::hostile().with("[limits]\nmax_instances = 1\njoin_timeout_ms = 300").serve();
    let (mut holds, topics) = joined(&server, 1, 1).await;
    holds.push(&topics[0], "sleep", json!({ "ms": LONG_MS })).await;
    settled(&mut holds).await;
    // Of its own connection, as who connects is asked in an instance, too.
    let join = holds.send_join("hostile:new", json!({})).await;
    let overloaded = json!({ "reason": "overloaded", "retry_after_ms": 1000 });
    holds.expect_reply("hostile:new", &join, "error", overloaded).await;
}

#[tokio::test]
async fn a_call_that_began_too_late_is_no_fault_of_the_plugin() {
    let server = App::hostile().with("[limits]\nmax_instances = 2\ncall_timeout_ms = 1000").serve();
    let mut reasons = Vec::new();
    let mut clients = Vec::new();
    for number in 0..6 {
        clients.push(joined(&server, number, 1).await);
    }
    for (client, topics) in &mut clients {
        client.push(&topics[0], "sleep", json!({ "ms": LONG_MS })).await;
    }
    for (client, _) in &mut clients {
        let reply = client.socket.recv_json().await;
        reasons.push(reply[4]["response"]["reason"].as_str().unwrap().to_owned());
    }
    reasons.sort_unstable();
    // Two have had an instance for as long as they may; the others had no use of theirs.
    let expected = [&["handler timeout"; 2][..], &["overloaded"; 4][..]].concat();
    assert_eq!(reasons, expected);
}

#[tokio::test]
async fn a_client_for_whom_nobody_has_time_is_told_to_come_again() {
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"";
    let server = App::hostile()
        .with(&format!("{admin}\n[limits]\nmax_instances = 1\njoin_timeout_ms = 300"))
        .serve();
    let (mut holds, topics) = joined(&server, 1, 1).await;
    holds.push(&topics[0], "sleep", json!({ "ms": LONG_MS })).await;
    settled(&mut holds).await;
    let refused = HttpRequest::upgrade("/socket/websocket").send(server.address()).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(refused.body, "overloaded\n");
    // There is one a second.
    let fault = loop {
        let snapshot = HttpRequest::new("GET", "/snapshot").send(server.admin()).await;
        match snapshot.status {
            200 if snapshot.json()["faults"][0].is_object() => {
                break snapshot.json()["faults"][0].clone();
            }
            _ => tokio::task::yield_now().await,
        }
    };
    assert_eq!((&fault["plugin"], &fault["cause"]), (&json!("hostile"), &json!("overloaded")));
}

#[tokio::test]
async fn users_of_fresh_instances_share_no_memory() {
    let server = App::hostile().with("[limits]\nfresh_instances = true").serve();
    let (mut alice, left) = joined(&server, 1, 1).await;
    let (mut bob, found) = joined(&server, 2, 1).await;
    for _ in 0..5 {
        let secret = json!({ "text": "of alice" });
        alice.push(&left[0], "leave", secret).await;
        assert_eq!(alice.socket.recv_json().await[4]["status"], "ok");
        let nothing = json!({ "found": "" });
        bob.expect_answer(&found[0], "find", json!({}), "ok", nothing.clone()).await;
        alice.expect_answer(&left[0], "find", json!({}), "ok", nothing).await;
    }
}
