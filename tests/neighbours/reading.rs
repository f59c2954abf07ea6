//! Clients that read are never closed for being slow; those that do not read are.

use millrace_tests::{App, HttpRequest, TestClient, TestServer};
use serde_json::{Value, json};

use crate::longest_ping;

const TOPIC: &str = "room:reading";

/// Sends pings of these sizes at once; all are answered in order.
async fn check_pings(server: &TestServer, sizes: &[usize]) {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let mut sent = Vec::new();
    let (mut reader, mut writer) = client.socket.split();
    let sending = tokio::spawn({
        let sizes = sizes.to_vec();
        async move {
            for (number, size) in sizes.into_iter().enumerate() {
                let text = "x".repeat(size);
                writer.send_text(format!(r#"[null,"p{number}","{TOPIC}","ping","{text}"]"#)).await;
            }
            writer
        }
    });
    for (number, size) in sizes.iter().enumerate() {
        let answer = reader.recv_json().await;
        assert_eq!(answer[1], format!("p{number}"));
        assert_eq!(answer[4]["response"].as_str().map(str::len), Some(*size));
        sent.push(answer);
    }
    drop(sending.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_close_nobody() {
    let server = App::probe().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let payload = json!({ "b": "x".repeat(1 << 20) });
    let shout = client.push(TOPIC, "shout", payload.clone()).await;
    client.expect_broadcast(TOPIC, "shout", payload).await;
    client.expect_reply(TOPIC, &shout, "ok", json!({})).await;
    check_pings(&server, &[1_050_000, 10]).await;
    check_pings(&server, &[600_000; 4]).await;
    check_pings(&server, &[10, 9_900_000, 10, 9_900_000, 9_900_000, 10]).await;
}

/// Subscribers that read all the time; what each has heard, when it has heard so many.
async fn listening(
    server: &TestServer,
    many: usize,
    events: usize,
) -> Vec<tokio::task::JoinHandle<Vec<Value>>> {
    let mut listeners = Vec::new();
    for _ in 0..many {
        let mut client = server.client().await;
        client.join(TOPIC).await;
        listeners.push(tokio::spawn(async move {
            let mut heard = Vec::new();
            while heard.len() < events {
                let message = client.socket.recv_json().await;
                assert_eq!(message[3], "shout");
                heard.push(message[4]["number"].clone());
            }
            heard
        }));
    }
    listeners
}

/// A speaker shouts so many times so many bytes behind a call that takes a while, and
/// every subscriber hears all of it in order.
async fn check_shouts(server: &TestServer, shouts: usize, bytes: usize, listeners: usize) {
    let listeners = listening(server, listeners, shouts).await;
    let mut speaker = server.client().await;
    speaker.join(TOPIC).await;
    speaker.push(TOPIC, "slow_ping", json!({ "ms": 300 })).await;
    let text = "x".repeat(bytes);
    let (mut reader, mut writer) = speaker.socket.split();
    let sending = tokio::spawn(async move {
        for number in 0..shouts {
            let payload = json!({ "number": number, "text": text });
            writer.send_json(&json!([null, null, TOPIC, "shout", payload])).await;
        }
        writer
    });
    let reading = tokio::spawn(async move {
        let mut heard = 0;
        while heard < shouts {
            heard += usize::from(reader.recv_json().await[3] == "shout");
        }
        reader
    });
    let expected: Vec<_> = (0..shouts).map(|number| json!(number)).collect();
    for listener in listeners {
        assert_eq!(listener.await.unwrap(), expected);
    }
    drop((sending.await.unwrap(), reading.await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_at_once_close_no_reader() {
    let server = App::probe().serve();
    check_shouts(&server, 8, 300_000, 10).await;
    check_shouts(&server, 60, 50_000, 20).await;
    check_shouts(&server, 64, 20_000, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broadcasts_of_one_handler_close_no_reader() {
    let server = App::hostile().serve();
    let mut listeners = Vec::new();
    for _ in 0..10 {
        let mut client = server.client().await;
        client.join("hostile:shouts").await;
        listeners.push(tokio::spawn(async move {
            for number in 0..12 {
                let message = client.socket.recv_json().await;
                assert_eq!(message[4]["number"], number);
            }
        }));
    }
    let mut speaker = server.client().await;
    speaker.join("hostile:speaker").await;
    // In one call, on another topic than its own.
    let mut on_it = server.client().await;
    on_it.join("hostile:shouts").await;
    on_it.push("hostile:shouts", "shout", json!({ "n": 12, "bytes": 300_000 })).await;
    for listener in listeners {
        listener.await.unwrap();
    }
    longest_ping(&mut speaker, "hostile:speaker", 1).await;
}

#[tokio::test]
async fn who_takes_nothing_for_long_is_closed() {
    let server = App::probe()
        .with("[socket]\nstall_timeout_ms = 500\n[admin]\nlisten = \"127.0.0.1:0\"")
        .serve();
    let mut deaf = TestClient::deaf(&server, TOPIC).await;
    let mut speaker = server.client().await;
    speaker.join(TOPIC).await;
    // More than the system takes for a client that does not read.
    for _ in 0..7 {
        let payload = json!({ "text": "x".repeat(1_000_000) });
        speaker.expect_answer(TOPIC, "shout_others", payload, "ok", json!({})).await;
    }
    loop {
        longest_ping(&mut speaker, TOPIC, 1).await;
        let sockets = HttpRequest::new("GET", "/sockets").send(server.admin()).await;
        let sockets: Value = serde_json::from_str(&sockets.body).unwrap();
        if sockets["count"] == 1 {
            break;
        }
    }
    let (_, code, reason) = deaf.socket.recv_until_close().await;
    assert_eq!((code, reason.as_str()), (1013, "client reads too slowly"));
    longest_ping(&mut speaker, TOPIC, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_own_answers_stop_its_reading_and_none_is_lost() {
    let server = App::probe().serve();
    let before = server.resident_bytes();
    let client = TestClient::deaf(&server, TOPIC).await;
    let (mut reader, mut writer) = client.socket.split();
    const PINGS: usize = 400;
    let sending = tokio::spawn(async move {
        let text = "x".repeat(200_000);
        for number in 0..PINGS {
            writer.send_text(format!(r#"[null,"p{number}","{TOPIC}","ping","{text}"]"#)).await;
        }
        writer
    });
    let mut bystander = server.client().await;
    bystander.join("room:bystander").await;
    longest_ping(&mut bystander, "room:bystander", 300).await;
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 60_000_000, "{grown} bytes wait for a client that does not read");
    for number in 0..PINGS {
        assert_eq!(reader.recv_json().await[1], format!("p{number}"));
    }
    drop(sending.await.unwrap());
}
