//! A server that loses and doubles messages is detected.

use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use millrace_bench::protocol::Protocol;
use millrace_bench::scan::elements;
use millrace_bench::server::{Endpoint, Target};
use millrace_bench::workload::{Echo, Fanout};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// The number of the message that the server sends twice.
const DOUBLED: u64 = 10;
/// The number of the message that the server does not send.
const LOST: u64 = 31;

/// A server for one client, with its two faults.
async fn faulty_server() -> Target {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = tokio_tungstenite::accept_async(stream).await.unwrap();
        let mut sent = 0;
        while let Some(Ok(Message::Text(text))) = socket.next().await {
            for answer in answers(&text) {
                sent += 1;
                let times = match sent {
                    DOUBLED => 2,
                    LOST => 0,
                    _ => 1,
                };
                for _ in 0..times {
                    socket.send(Message::text(answer.clone())).await.unwrap();
                }
            }
        }
    });
    let endpoint = Endpoint { address, protocol: Protocol::Phoenix };
    Target::new(endpoint, std::process::id(), None)
}

fn answers(text: &str) -> Vec<String> {
    let [join_ref, reference, topic, event, payload] = elements(text).unwrap();
    let status = r#"{"response":{},"status":"ok"}"#;
    let reply = format!(r#"[{join_ref},{reference},{topic},"phx_reply",{status}]"#);
    match event {
        r#""shout""# => vec![format!("[null,null,{topic},{event},{payload}]"), reply],
        _ => vec![reply],
    }
}

#[tokio::test]
async fn a_reply_that_is_lost_or_doubled_is_counted() {
    let echo = Echo { connections: 1, in_flight: 4, seconds: 1.0 };
    let outcome = echo.run(&faulty_server().await).await.unwrap();
    assert_eq!((outcome.lost, outcome.duplicated), (1, 1));
    assert!(outcome.figures.iter().any(|(name, value)| name.contains("round") && *value > 0.0));
}

#[tokio::test]
async fn a_broadcast_that_is_lost_or_doubled_is_counted() {
    let fanout = Fanout { subscribers: 0, burst: 1, seconds: 1.0 };
    let outcome = fanout.run(&faulty_server().await).await.unwrap();
    assert_eq!((outcome.lost, outcome.duplicated), (1, 1));
}
