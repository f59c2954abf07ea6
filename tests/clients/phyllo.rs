//! The crate `phyllo` 0.3: integer refs, null payloads, and a `join_ref` of 0 on
//! every join.

use millrace_tests::{PATIENCE, TestServer};
use phyllo::channel::{ChannelBuilder, ChannelHandler};
use phyllo::message::{Event, Message, Payload, PushStatus};
use phyllo::socket::{SocketBuilder, SocketHandler};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::time::timeout;
use url::Url;

type Handler = ChannelHandler<String, String, Value, Value>;
type Heard = Receiver<Message<String, String, Value, Value>>;

struct Client {
    channel: Handler,
    heard: Heard,
    socket: SocketHandler<String>,
}

/// Connects and joins; phyllo sends what comes next when the join is answered.
async fn join(server: &TestServer, topic: &str) -> Client {
    let url = Url::parse(&format!("ws://{}/socket/websocket", server.address())).unwrap();
    let mut socket = SocketBuilder::new(url).build::<String>().await;
    let builder = ChannelBuilder::new(topic.to_owned()).timeout(PATIENCE);
    let (channel, heard) = socket.channel(builder).await.unwrap();
    Client { channel, heard, socket }
}

/// Sends an event and checks the answer.
async fn check(client: &mut Client, event: &str, payload: &Value, status: PushStatus) {
    let event_sent = Event::Event(event.to_owned());
    let sent = client.channel.send(event_sent, Payload::Custom(payload.clone())).await;
    let answer = sent.unwrap_or_else(|error| panic!("{event} is not answered: {error}"));
    let response = if event == "shout" { json!({}) } else { payload.clone() };
    assert_eq!(answer.payload, Some(Payload::PushReply { status, response }), "{event}");
}

async fn expect_shout(client: &mut Client, payload: &Value) {
    let heard = timeout(PATIENCE, client.heard.recv()).await.expect("a shout in time").unwrap();
    assert_eq!(heard.event, Event::Event("shout".to_owned()));
    assert_eq!(heard.payload, Some(Payload::Custom(payload.clone())));
}

#[tokio::test]
async fn phyllo_joins_asks_and_hears() {
    let server = TestServer::shared();
    let mut alice = join(&server, "room:phyllo").await;
    let mut bob = join(&server, "room:phyllo").await;
    let payload = json!({ "text": "Grüße" });
    check(&mut alice, "ping", &payload, PushStatus::Ok).await;
    check(&mut bob, "fail", &payload, PushStatus::Error).await;
    check(&mut alice, "shout", &payload, PushStatus::Ok).await;
    expect_shout(&mut alice, &payload).await;
    expect_shout(&mut bob, &payload).await;
    alice.socket.close();
    bob.socket.close();
}

#[tokio::test]
async fn phyllo_leaves() {
    let server = TestServer::shared();
    let mut client = join(&server, "room:phyllo-leaves").await;
    check(&mut client, "ping", &json!({}), PushStatus::Ok).await;
    let answer = client.channel.close().await.expect("the leave is answered");
    let expected = Payload::PushReply { status: PushStatus::Ok, response: json!({}) };
    assert_eq!(answer.payload, Some(expected));
    client.socket.close();
}
