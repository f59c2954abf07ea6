//! A client of Phoenix Channels, version 2, written from the protocol's
//! description.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::net::TcpSocket;

use crate::{TestServer, TestSocket};

/// One connection with its topics. Its `join_ref`s start at 11 and its `ref`s at
/// 1, so that a server that mixes them up is caught.
#[derive(Debug)]
pub struct TestClient {
    /// The connection, for frames that no sane client sends.
    pub socket: TestSocket,
    join_refs: HashMap<String, String>,
    last_join_ref: u32,
    last_ref: u32,
}

impl TestClient {
    /// Connects to `/socket/websocket` at an address.
    pub async fn connect(address: &str) -> Self {
        Self::over(TestSocket::connect(address, "/socket/websocket?vsn=2.0.0").await)
    }

    /// A client over a connection of one's own that speaks version 2.
    #[must_use]
    pub fn over(socket: TestSocket) -> Self {
        Self { socket, join_refs: HashMap::new(), last_join_ref: 10, last_ref: 0 }
    }

    /// A client that has joined a topic, and whose end of the connection takes little that
    /// it does not read.
    ///
    /// # Panics
    /// If it cannot connect.
    pub async fn deaf(server: &TestServer, topic: &str) -> Self {
        let tcp = TcpSocket::new_v4().unwrap();
        tcp.set_recv_buffer_size(16_384).unwrap();
        let tcp = tcp.connect(server.address().parse().unwrap()).await.unwrap();
        let mut client = Self::over(TestSocket::over(tcp, "/socket/websocket?vsn=2.0.0").await);
        client.join(topic).await;
        client
    }

    /// Joins a topic with empty params; the server agrees.
    pub async fn join(&mut self, topic: &str) {
        let join = self.send_join(topic, json!({})).await;
        self.expect_reply(topic, &join, "ok", json!({})).await;
    }

    /// Leaves a topic; the server agrees.
    pub async fn leave(&mut self, topic: &str) {
        self.expect_answer(topic, "phx_leave", json!({}), "ok", json!({})).await;
        self.expect_closed(topic).await;
    }

    /// Asks to join, and does not wait. Gives the `ref`.
    pub async fn send_join(&mut self, topic: &str, params: Value) -> String {
        self.last_join_ref += 1;
        self.join_refs.insert(topic.to_owned(), self.last_join_ref.to_string());
        self.push(topic, "phx_join", params).await
    }

    /// Sends an event to a topic, with its `join_ref` (null for a topic that was
    /// never joined), and does not wait. Gives the `ref`.
    pub async fn push(&mut self, topic: &str, event: &str, payload: Value) -> String {
        let reference = self.next_ref();
        let join_ref = self.join_refs.get(topic);
        self.socket.send_json(&json!([join_ref, reference, topic, event, payload])).await;
        reference
    }

    /// Sends an event with a binary payload. Gives the `ref`.
    pub async fn push_binary(&mut self, topic: &str, event: &str, payload: &[u8]) -> String {
        let reference = self.next_ref();
        let parts = [&self.join_ref(topic), &reference, topic, event];
        self.socket.send_binary(binary_frame(0, &parts, payload)).await;
        reference
    }

    /// Sends a heartbeat. Gives the `ref`.
    pub async fn heartbeat(&mut self) -> String {
        let reference = self.next_ref();
        self.socket.send_json(&json!([null, reference, "phoenix", "heartbeat", {}])).await;
        reference
    }

    /// The `join_ref` of a topic.
    ///
    /// # Panics
    /// If no join was sent for it.
    #[must_use]
    pub fn join_ref(&self, topic: &str) -> String {
        self.join_refs.get(topic).expect("a topic that was joined").clone()
    }

    /// The next `ref`, for a frame the test writes itself.
    pub fn next_ref(&mut self) -> String {
        self.last_ref += 1;
        self.last_ref.to_string()
    }

    /// The next message answers `reference`.
    pub async fn expect_reply(
        &mut self,
        topic: &str,
        reference: &str,
        status: &str,
        answer: Value,
    ) {
        let join_ref = self.join_ref(topic);
        let payload = json!({ "status": status, "response": answer });
        self.socket.expect(json!([join_ref, reference, topic, "phx_reply", payload])).await;
    }

    /// Sends an event; the next message answers it.
    pub async fn expect_answer(
        &mut self,
        topic: &str,
        event: &str,
        payload: Value,
        status: &str,
        answer: Value,
    ) {
        let reference = self.push(topic, event, payload).await;
        self.expect_reply(topic, &reference, status, answer).await;
    }

    /// The next message says that a topic is not ours; its `join_ref` is null.
    pub async fn expect_unmatched(&mut self, topic: &str, reference: &str) {
        let answer = json!({ "status": "error", "response": { "reason": "unmatched topic" } });
        self.socket.expect(json!([null, reference, topic, "phx_reply", answer])).await;
    }

    /// The next message was pushed to this client alone.
    pub async fn expect_push(&mut self, topic: &str, event: &str, payload: Value) {
        let join_ref = self.join_ref(topic);
        self.socket.expect(json!([join_ref, null, topic, event, payload])).await;
    }

    /// The next message went to all of the topic.
    pub async fn expect_broadcast(&mut self, topic: &str, event: &str, payload: Value) {
        self.socket.expect(json!([null, null, topic, event, payload])).await;
    }

    /// The next message says that the channel has closed as it should.
    pub async fn expect_closed(&mut self, topic: &str) {
        let join_ref = self.join_ref(topic);
        self.socket.expect(json!([join_ref, join_ref, topic, "phx_close", {}])).await;
    }

    /// The next message says that the channel has crashed.
    pub async fn expect_crashed(&mut self, topic: &str) {
        let join_ref = self.join_ref(topic);
        let payload = json!({ "reason": "channel_crash" });
        self.socket.expect(json!([join_ref, join_ref, topic, "phx_error", payload])).await;
    }

    /// The next message answers the heartbeat `reference`.
    pub async fn expect_heartbeat(&mut self, reference: &str) {
        let payload = json!({ "status": "ok", "response": {} });
        self.socket.expect(json!([null, reference, "phoenix", "phx_reply", payload])).await;
    }

    /// Nothing more has been sent to this client: the next thing it hears is the
    /// answer to a heartbeat.
    pub async fn expect_nothing(&mut self) {
        let heartbeat = self.heartbeat().await;
        self.expect_heartbeat(&heartbeat).await;
    }

    /// A joined topic has nothing more to say: the next thing it says is the
    /// answer to a ping, which waits its turn behind all before it.
    pub async fn expect_nothing_from(&mut self, topic: &str) {
        self.expect_answer(
            topic,
            "ping",
            json!({ "marker": true }),
            "ok",
            json!({ "marker": true }),
        )
        .await;
        self.expect_nothing().await;
    }
}

/// A binary frame of version 2: the kind, the length of each part in one byte,
/// the parts, the payload.
///
/// # Panics
/// If a part is longer than 255 bytes.
pub(crate) fn binary_frame(kind: u8, parts: &[&str], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend(parts.iter().map(|part| u8::try_from(part.len()).expect("at most 255 bytes")));
    frame.extend(parts.iter().flat_map(|part| part.bytes()));
    frame.extend(payload);
    frame
}
