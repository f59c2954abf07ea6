//! The crate `phoenix_channels_client` 0.1: each channel counts its own refs from
//! 0, beside the `join_ref` of the socket.

use std::sync::Arc;

use millrace_tests::{PATIENCE, TestServer};
use phoenix_channels_client::{Channel, Client, Config, Payload};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

async fn connect(server: &TestServer) -> Client {
    let url = format!("ws://{}/socket/websocket", server.address());
    let mut client = Client::new(Config::new(url.as_str()).unwrap()).unwrap();
    client.connect().await.expect("the server accepts");
    client
}

/// Subscribes to an event.
async fn listen(channel: &Arc<Channel>, event: &str) -> UnboundedReceiver<Payload> {
    let (heard, events) = unbounded_channel();
    let handler = move |_: Arc<Channel>, payload: &Payload| {
        let _ = heard.send(payload.clone());
    };
    channel.on(event, handler).await.expect("the channel lives");
    events
}

async fn ask(channel: &Channel, event: &str, payload: &Value) -> Payload {
    let answer = channel.send_with_timeout(event, payload.clone(), Some(PATIENCE)).await;
    answer.unwrap_or_else(|error| panic!("{event} is not answered: {error}"))
}

#[tokio::test]
async fn phoenix_channels_client_joins_asks_and_hears() {
    let server = TestServer::shared();
    let (alice, bob) = (connect(&server).await, connect(&server).await);
    let a = alice.join("room:pcc", Some(PATIENCE)).await.expect("alice joins");
    let b = bob.join("room:pcc", Some(PATIENCE)).await.expect("bob joins");
    let (mut a_hears, mut b_hears) = (listen(&a, "shout").await, listen(&b, "shout").await);
    let mut a_is_told = listen(&a, "pushed").await;

    let payload = json!({ "text": "Grüße", "n": 1 });
    for _ in 0..3 {
        assert_eq!(ask(&a, "ping", &payload).await, Payload::Value(payload.clone()));
    }
    ask(&a, "push_me", &payload).await;
    let told = timeout(PATIENCE, a_is_told.recv()).await.expect("a push in time");
    assert_eq!(told, Some(Payload::Value(payload.clone())));
    ask(&b, "shout", &payload).await;
    for hears in [&mut a_hears, &mut b_hears] {
        let heard = timeout(PATIENCE, hears.recv()).await.expect("a shout in time");
        assert_eq!(heard, Some(Payload::Value(payload.clone())));
    }
}

#[tokio::test]
async fn phoenix_channels_client_is_refused_with_the_reason() {
    let server = TestServer::shared();
    let client = connect(&server).await;
    let channel = client.join("room:pcc-refused", Some(PATIENCE)).await.expect("it joins");
    let payload = json!({ "why": "told to" });
    let refusal = channel.send_with_timeout("fail", payload, Some(PATIENCE)).await;
    let refusal = refusal.expect_err("an error").to_string();
    assert!(refusal.contains("told to"), "{refusal}");
}
