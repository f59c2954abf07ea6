//! The limits of connections, which hold for sessions too.

use millrace_tests::{App, Gate, HttpRequest, HttpResponse, TestServer, eventually};
use serde_json::{Value, json};

use crate::client::{Client, only};

async fn ask(server: &TestServer) -> HttpResponse {
    HttpRequest::new("GET", "/socket/longpoll?vsn=2.0.0").send(server.address()).await
}

fn assert_refused(answer: &HttpResponse, why: &str) {
    assert_eq!((answer.status, answer.body.as_str()), (503, why), "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
}

#[tokio::test]
async fn a_session_takes_a_place_besides_those_of_its_requests() {
    for limit in ["max_connections_per_address", "max_connections"] {
        let server = App::probe().with(&format!("[socket]\n{limit} = 2")).serve();
        let client = Client::connect(&server).await;
        // The other place is that of the connection which asks, once there is no other.
        let full = async || {
            let answer = ask(&server).await;
            answer.header("access-control-allow-origin").is_some().then_some(answer)
        };
        assert_refused(&eventually("there is no room", full).await, "too many connections\n");
        let goes_on = async || (client.send(&client.batch("")).await.status == 200).then_some(());
        eventually("the session goes on", goes_on).await;
    }
}

#[tokio::test]
async fn new_sessions_are_bounded_in_a_second() {
    let server = App::probe().with("[socket]\nmax_connects_per_second = 2").serve();
    let mut first = Client::connect(&server).await;
    let all = futures_util::future::join_all((0..10).map(|_| ask(&server))).await;
    let refused: Vec<_> = all.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty(), "{all:?}");
    refused.iter().for_each(|answer| {
        assert_refused(answer, "too many connects at once, come again\n");
    });
    first.expect_nothing().await;
}

#[tokio::test]
async fn a_body_has_its_bounds() {
    let server = App::probe()
        .with("[longpoll]\nmax_body_bytes = 1000\nmax_lines = 3\n[socket]\nmax_frame_bytes = 100")
        .serve();
    let client = Client::connect(&server).await;
    let line = |bytes: usize| format!("[{}]", "1".repeat(bytes - 2));
    for (body, words) in [
        ("[]\n".repeat(4), "may have 3 lines (longpoll.max_lines)"),
        (line(101), "may have 100 bytes (socket.max_frame_bytes)"),
        (line(1001), "more than 1000 bytes (longpoll.max_body_bytes)"),
    ] {
        let answer = client.send(&client.batch(&body)).await;
        assert_eq!(answer.status, 413, "{answer:?}");
        assert!(answer.body.contains(words), "{answer:?}");
    }
    assert_eq!(client.post("\n\n\n").await, only(200));
}

#[tokio::test]
async fn a_malformed_message_ends_the_session_that_sent_it() {
    let server = TestServer::shared();
    for line in ["[]", "{\"a\":1}", "[1", "AAAA"] {
        let client = Client::connect(&server).await;
        let status = client.post(line).await;
        // The session may have read it before it found out what it is.
        assert!([only(200), only(410)].contains(&status), "{line}: {status}");
        let gone = async || (client.post("").await == only(410)).then_some(());
        eventually("the session ends", gone).await;
    }
}

#[tokio::test]
async fn a_session_that_reads_nothing_makes_its_client_wait() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate)
        .with("[longpoll]\nwindow_ms = 300\n[socket]\nmax_pending_bytes = 20_000")
        .serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    let text = "x".repeat(10_000);
    let slow =
        |client: &mut Client| client.line("room:a", "slow_ping", &json!({ "ms": 1, "text": text }));
    let lines: Vec<_> = (0..10).map(|_| slow(&mut client)).collect();
    let (get, batch) = (client.get(), client.batch(&lines.join("\n")));
    // More may wait than is read, so the rest is not taken within a window.
    let mut posted = Box::pin(client.send(&batch));
    let answer = loop {
        tokio::select! {
            answer = &mut posted => break answer,
            _ = client.send(&get) => {}
        }
    };
    drop(posted);
    assert_eq!(answer.json(), only(408));
    gate.open();
    let reply: Value = client.next().await;
    assert_eq!(reply[4]["status"], "ok", "{reply}");
}
