//! Memory: what waits in a connection and in the server is counted in bytes.

use std::time::{Duration, Instant};

use millrace_tests::{App, HttpRequest, RawSocket, TestClient, TestServer, eventually, opcode};
use serde_json::{Value, json};

use crate::longest_ping;

const TOPIC: &str = "room:memory";
/// Far more than one connection may have waiting, and far less than the attacks want.
const ALLOWED: usize = 150_000_000;
const LARGE: usize = 9_000_000;

/// A client that is in the middle of a call that takes a while.
async fn busy(server: &TestServer, ms: u64) -> (TestClient, String) {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let slow = client.push(TOPIC, "slow_ping", json!({ "ms": ms })).await;
    client.expect_nothing().await;
    (client, slow)
}

/// Has a client send these frames, and looks at the server's memory until the slow
/// call is over; then all of them are answered, in order.
async fn check_waiting(server: &TestServer, frames: Vec<String>, references: &[String]) {
    let before = server.resident_bytes();
    let (client, slow) = busy(server, 2_000).await;
    let (mut reader, mut writer) = client.socket.split();
    let sending = tokio::spawn(async move {
        for frame in frames {
            writer.send_text(frame).await;
        }
        writer
    });
    let mut bystander = server.client().await;
    bystander.join("room:bystander").await;
    let mut most = 0;
    let first = tokio::spawn(async move { (reader.recv_json().await, reader) });
    while !first.is_finished() {
        let longest = longest_ping(&mut bystander, "room:bystander", 10).await;
        assert!(longest < Duration::from_secs(2), "{longest:?}");
        most = most.max(server.resident_bytes().saturating_sub(before));
    }
    let (answer, mut reader) = first.await.unwrap();
    assert_eq!(answer[1], json!(slow));
    assert!(most < ALLOWED, "{most} bytes wait");
    for reference in references {
        let answer = reader.recv_json().await;
        assert_eq!(answer[1], json!(reference), "{}", short(&answer));
        assert_eq!(answer[4]["status"], "ok", "{}", short(&answer));
    }
    drop(sending.await.unwrap());
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(200).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_a_channel_is_bounded_in_bytes_and_nothing_is_lost() {
    let server = App::probe().serve();
    let references: Vec<_> = (100..140).map(|n| n.to_string()).collect();
    let text = "x".repeat(LARGE);
    let frame = |n| format!(r#"[null,"{n}","{TOPIC}","ping","{text}"]"#);
    check_waiting(&server, references.iter().map(frame).collect(), &references).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_payload_does_not_keep_its_large_frame() {
    let server = App::probe().with("[socket]\nmax_pending = 1000").serve();
    let references: Vec<_> = (100..140).map(|n| n.to_string()).collect();
    let rest = "x".repeat(LARGE);
    let frame = |n| format!(r#"[null,"{n}","{TOPIC}","ping",{{}},"{rest}"]"#);
    check_waiting(&server, references.iter().map(frame).collect(), &references).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_behind_a_call_take_no_room() {
    const LEAVES: usize = 50_000;
    let server = App::probe().with("[socket]\nmax_messages_per_second = 0").serve();
    let before = server.resident_bytes();
    let (client, slow) = busy(&server, 1_500).await;
    let (mut reader, mut writer) = client.socket.split();
    let sending = tokio::spawn(async move {
        for number in 0..LEAVES {
            writer.send_text(format!(r#"[null,"l{number}","{TOPIC}","phx_leave",{{}}]"#)).await;
        }
        writer
    });
    let (mut answered, mut is_over, mut most) = (0, false, 0);
    while answered < LEAVES || !is_over {
        let answer = reader.recv_json().await;
        if answer[3] == "phx_close" {
            is_over = true;
        } else if answer[1] != json!(slow) {
            assert_eq!(answer[4]["status"], "ok", "{answer}");
            answered += 1;
        }
        if answered % 10_000 == 0 {
            most = most.max(server.resident_bytes().saturating_sub(before));
        }
    }
    assert!(most < 30_000_000, "{most} bytes");
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn a_message_that_does_not_come_whole_ends_its_connection() {
    let server = App::probe().with("[socket]\nmessage_timeout_ms = 300").serve();
    let mut bystander = server.client().await;
    bystander.join(TOPIC).await;
    for payload in [vec![b'x'; 20_000], Vec::new()] {
        let mut socket = RawSocket::connect(server.address()).await;
        socket.send_part(opcode::TEXT, &payload).await;
        // Control frames in between are no reason to wait for longer.
        socket.send(opcode::PING, b"here").await;
        socket.expect(opcode::PONG, b"here").await;
        let (code, reason) = socket.expect_close().await;
        assert_eq!((code, reason.as_str()), (1002, "a message did not come whole in time"));
    }
    longest_ping(&mut bystander, TOPIC, 3).await;
}

#[tokio::test]
async fn control_frames_and_fragments_count_as_messages() {
    const HEARTBEAT: &[u8] = br#"[null,"1","phoenix","heartbeat",{}]"#;
    let server = App::probe().with("[socket]\nmax_messages_per_second = 100").serve();
    let pings = RawSocket::frame(opcode::PING, b"12345").repeat(300);
    let message_in_parts = [
        RawSocket::part(opcode::TEXT, HEARTBEAT),
        RawSocket::part(opcode::CONTINUATION, b"").repeat(300),
        RawSocket::frame(opcode::CONTINUATION, b""),
    ];
    for (what, bytes, messages) in
        [("pings", pings, 0), ("a message in parts", message_in_parts.concat(), 1)]
    {
        let mut socket = RawSocket::connect(server.address()).await;
        let begin = Instant::now();
        socket.send_bytes(&bytes).await;
        // What is behind them waits until they are paid for.
        socket.send(opcode::TEXT, HEARTBEAT).await;
        let mut answers = 0;
        while answers < messages + 1 {
            let (head, _) = socket.recv().await;
            answers += usize::from(head & 0x0f == opcode::TEXT);
        }
        // A hundred at once, the other two hundred in two seconds.
        let took = begin.elapsed();
        assert!(took > Duration::from_millis(1_500), "{what}: {took:?}");
    }
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_bounded() {
    let server = App::hostile().with("[socket]\nmax_subscriptions = 600").serve();
    let mut client = server.client().await;
    let (topic, other) = ("hostile:subscriptions", "hostile:other");
    client.join(topic).await;
    client.join(other).await;
    let order = json!({ "n": 100, "topic": "other:" });
    client.expect_answer(other, "subscribe", order, "ok", json!({})).await;
    for prefix in ["a", "b", "c", "d"] {
        let order = json!({ "n": 250, "topic": format!("{prefix}:") });
        client.expect_answer(topic, "subscribe", order, "ok", json!({})).await;
    }
    for (other, is_heard) in [("a:0", true), ("b:249", true), ("c:0", false), ("d:249", false)] {
        let order = json!({ "topic": other, "event": "said" });
        let push = client.push(topic, "broadcast_to", order).await;
        client.expect_reply(topic, &push, "ok", json!({})).await;
        if is_heard {
            let heard = json!({ "topic": other, "event": "said" });
            client.expect_push(topic, "heard", heard).await;
        }
        client.expect_nothing_from(topic).await;
    }
}

#[tokio::test]
async fn timers_of_a_channel_that_has_gone_take_no_room() {
    let server = App::hostile().serve();
    let mut client = server.client().await;
    let topic = "hostile:timers";
    for _ in 0..5 {
        client.join(topic).await;
        let order = json!({ "n": 250, "ms": 3_600_000 });
        client.expect_answer(topic, "timers", order, "ok", json!({})).await;
        client.leave(topic).await;
    }
    client.join(topic).await;
    let push = client.push(topic, "timers", json!({ "n": 1, "ms": 1 })).await;
    client.expect_reply(topic, &push, "ok", json!({})).await;
    client.expect_push(topic, "timer", json!({ "name": "timer" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_memory_refuses_connections_and_large_messages_and_serves_the_rest() {
    let config = "[memory]\nmax_bytes = 500_000_000";
    let server = App::hostile().plugin("probe", "tests/apps/probe").with(config).serve();
    let (mut bystander, mut large) = (server.client().await, server.client().await);
    bystander.join(TOPIC).await;
    large.join(TOPIC).await;
    let mut middling = server.client().await;
    middling.join(TOPIC).await;
    let mut holders = Vec::new();
    for number in 0..12 {
        let mut holder = server.client().await;
        let topic = format!("hostile:{number}");
        holder.join(&topic).await;
        holders.push((holder, topic));
    }
    for (holder, topic) in &mut holders {
        holder.push(topic, "hold", json!({ "bytes": 50_000_000, "ms": 5_000 })).await;
    }
    while !server.log().contains("memory is used up") {
        longest_ping(&mut bystander, TOPIC, 1).await;
    }
    let refused = HttpRequest::upgrade("/socket/websocket").send(server.address()).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(refused.body, "the server is short of memory\n");
    for (path, status) in [("/health", 200), ("/ready", 503)] {
        let answer = HttpRequest::new("GET", path).send(server.address()).await;
        assert_eq!(answer.status, status, "{path}");
    }
    // One of them comes whole with one read.
    for (mut client, bytes) in [(large, 2_000_000), (middling, 100_000)] {
        client.push(TOPIC, "ping", json!({ "text": "x".repeat(bytes) })).await;
        let (code, reason) = client.socket.expect_close().await;
        assert_eq!(code, 1013, "{bytes}: {reason}");
    }
    longest_ping(&mut bystander, TOPIC, 10).await;
    // It goes on as before once the memory is there again.
    drop(holders);
    let upgrade = HttpRequest::upgrade("/socket/websocket");
    let is_in = async || (upgrade.send(server.address()).await.status != 503).then_some(());
    eventually("clients come in again", is_in).await;
}
