//! A client that polls, written from the protocol's description.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::future::{Either, select};
use millrace_tests::{HttpRequest, HttpResponse, TestServer};
use serde_json::{Value, json};

/// The media type of a batch of messages.
pub(crate) const NDJSON: &str = "application/x-ndjson";

/// One session. Its `ref`s and its `join_ref`s are of one counter, as those of phoenix.js.
pub(crate) struct Client {
    address: String,
    /// The query without the token.
    query: String,
    pub(crate) token: String,
    /// The messages that were polled, and that nobody has asked for.
    messages: VecDeque<Value>,
    last_ref: u32,
}

/// The text of an answer's JSON that only has a status.
pub(crate) fn only(status: u16) -> Value {
    json!({ "status": status })
}

impl Client {
    /// A session of version 2.
    pub(crate) async fn connect(server: &TestServer) -> Self {
        Self::with_query(server, "vsn=2.0.0").await
    }

    /// A session that is asked for with this query.
    pub(crate) async fn with_query(server: &TestServer, query: &str) -> Self {
        let (address, query) = (server.address().to_owned(), query.to_owned());
        let (token, messages) = (String::new(), VecDeque::new());
        let mut client = Self { address, query, token, messages, last_ref: 0 };
        let answer = client.poll().await;
        assert_eq!((&answer["status"], &answer["messages"]), (&json!(410), &json!([])), "{answer}");
        client
    }

    /// The path with the query and the token.
    pub(crate) fn path(&self) -> String {
        let Self { query, token, .. } = self;
        match token.as_str() {
            "" => format!("/socket/longpoll?{query}&"),
            token => format!("/socket/longpoll?{query}&token={token}"),
        }
    }

    /// The request of a poll.
    pub(crate) fn get(&self) -> HttpRequest {
        HttpRequest::new("GET", &self.path())
    }

    /// The request with a batch.
    pub(crate) fn batch(&self, lines: &str) -> HttpRequest {
        HttpRequest::new("POST", &self.path()).body(NDJSON, lines)
    }

    pub(crate) async fn send(&self, request: &HttpRequest) -> HttpResponse {
        request.send(&self.address).await
    }

    /// A poll that the server has, for certain: it has ended another.
    pub(crate) async fn waiting_poll(&self) -> Pin<Box<dyn Future<Output = HttpResponse>>> {
        let poll = || {
            let (request, address) = (self.get(), self.address.clone());
            let sending = async move { request.send(&address).await };
            Box::pin(sending) as Pin<Box<dyn Future<Output = HttpResponse>>>
        };
        let (ended, waits) = match select(poll(), poll()).await {
            Either::Left((ended, waits)) | Either::Right((ended, waits)) => (ended, waits),
        };
        assert_eq!(ended.json()["status"], 204);
        waits
    }

    /// Polls; the answer. Its token is the session's from now on.
    pub(crate) async fn poll(&mut self) -> Value {
        let answer = self.send(&self.get()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer = answer.json();
        if let Some(token) = answer["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        answer
    }

    /// Sends a batch; the status in the answer.
    pub(crate) async fn post(&self, lines: &str) -> Value {
        let answer = self.send(&self.batch(lines)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    }

    /// The line of a message on a topic that was joined, or the join of one.
    pub(crate) fn line(&mut self, topic: &str, event: &str, payload: &Value) -> String {
        self.last_ref += 1;
        let join_ref =
            if event == "phx_join" { json!(self.last_ref.to_string()) } else { Value::Null };
        json!([join_ref, self.last_ref.to_string(), topic, event, payload]).to_string()
    }

    /// Sends one message.
    pub(crate) async fn push(&mut self, topic: &str, event: &str, payload: Value) {
        let line = self.line(topic, event, &payload);
        assert_eq!(self.post(&line).await, only(200));
    }

    /// Joins a topic; the server agrees.
    pub(crate) async fn join(&mut self, topic: &str) {
        self.push(topic, "phx_join", json!({})).await;
        self.expect_reply("ok", json!({})).await;
    }

    /// Takes messages as if they were polled.
    pub(crate) fn take(&mut self, answer: &Value) {
        assert_eq!(answer["status"], 200, "{answer}");
        for message in answer["messages"].as_array().expect("a list of messages") {
            let text = message.as_str().expect("a message as a string");
            self.messages.push_back(serde_json::from_str(text).expect("a message in JSON"));
        }
    }

    /// The next message, whose poll may take several windows.
    pub(crate) async fn next(&mut self) -> Value {
        while self.messages.is_empty() {
            let answer = self.poll().await;
            if answer["status"] != 204 {
                self.take(&answer);
            }
        }
        self.messages.pop_front().expect("a message")
    }

    /// The next message is the reply to the last one that was sent.
    pub(crate) async fn expect_reply(&mut self, status: &str, response: Value) {
        let message = self.next().await;
        let expected = (json!(self.last_ref.to_string()), json!("phx_reply"));
        assert_eq!((&message[1], &message[3]), (&expected.0, &expected.1), "{message}");
        assert_eq!(message[4], json!({ "status": status, "response": response }), "{message}");
    }

    /// The next message is this event with this payload.
    pub(crate) async fn expect_event(&mut self, event: &str, payload: Value) {
        let message = self.next().await;
        assert_eq!((&message[3], &message[4]), (&json!(event), &payload), "{message}");
    }

    /// The session answers, with nothing before it.
    pub(crate) async fn expect_nothing(&mut self) {
        self.push("phoenix", "heartbeat", json!({})).await;
        self.expect_reply("ok", json!({})).await;
    }
}
