//! A WebSocket connection that says exactly what the test says.

use std::fmt::Debug;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::PATIENCE;

/// One connection; knows WebSocket and JSON, and nothing of Phoenix.
#[derive(Debug)]
pub struct TestSocket {
    stream: WebSocketStream<Box<dyn Wire>>,
}

/// What a WebSocket may be over.
pub trait Wire: AsyncRead + AsyncWrite + Debug + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin> Wire for T {}

impl TestSocket {
    /// Connects to a path with its query.
    ///
    /// # Panics
    /// If the server does not accept.
    pub async fn connect(address: &str, path: &str) -> Self {
        let tcp = TcpStream::connect(address).await.expect("the server listens");
        Self::over(tcp, path).await
    }

    /// Opens the WebSocket over a TCP connection of one's own.
    ///
    /// # Panics
    /// If the server does not accept.
    pub async fn over(tcp: TcpStream, path: &str) -> Self {
        tcp.set_nodelay(true).expect("no delay");
        let address = tcp.peer_addr().expect("a connection");
        Self::over_any(tcp, &format!("ws://{address}{path}"), &[]).await
    }

    /// Opens the WebSocket over anything, with more headers.
    ///
    /// # Panics
    /// If the server does not accept.
    pub async fn over_any(
        stream: impl Wire + 'static,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let path = url;
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a header's name");
            request.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        let stream: Box<dyn Wire> = Box::new(stream);
        let handshake = client_async_with_config(request, stream, Some(config));
        let (stream, _) = timeout(PATIENCE, handshake)
            .await
            .expect("the handshake is answered")
            .unwrap_or_else(|error| panic!("{path} is not accepted: {error}"));
        Self { stream }
    }

    /// Sends any message.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send(&mut self, message: Message) {
        timeout(PATIENCE, self.stream.send(message))
            .await
            .expect("the server reads")
            .expect("the connection is open");
    }

    /// Sends a text frame as it is.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.send(Message::text(text.into())).await;
    }

    /// Sends a JSON term in a text frame.
    pub async fn send_json(&mut self, json: &Value) {
        self.send_text(json.to_string()).await;
    }

    /// Sends a binary frame as it is.
    pub async fn send_binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.send(Message::binary(bytes.into())).await;
    }

    /// The next message of any kind; pings are answered on the way.
    ///
    /// # Panics
    /// If there is none.
    pub async fn recv(&mut self) -> Message {
        match self.next().await {
            Some(Ok(message)) => message,
            end => panic!("a message was expected, the connection ended with {end:?}"),
        }
    }

    /// The next message, which is text.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn recv_text(&mut self) -> String {
        match self.recv().await {
            Message::Text(text) => text.as_str().to_owned(),
            other => panic!("a text frame was expected, found {other:?}"),
        }
    }

    /// The next message, which is JSON.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn recv_json(&mut self) -> Value {
        let text = self.recv_text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
    }

    /// The next message, which is binary.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn recv_binary(&mut self) -> Vec<u8> {
        match self.recv().await {
            Message::Binary(bytes) => bytes.to_vec(),
            other => panic!("a binary frame was expected, found {other:?}"),
        }
    }

    /// The next message is exactly this JSON term.
    ///
    /// # Panics
    /// If it is not.
    pub async fn expect(&mut self, expected: Value) {
        let found = self.recv_json().await;
        assert!(found == expected, "\nexpected {expected}\n   found {found}");
    }

    /// The next message is exactly these bytes.
    ///
    /// # Panics
    /// If it is not.
    pub async fn expect_binary(&mut self, expected: &[u8]) {
        let found = self.recv_binary().await;
        assert!(
            found == expected,
            "\nexpected {}\n   found {}",
            expected.escape_ascii(),
            found.escape_ascii()
        );
    }

    /// The server closes the connection with nothing before it: the close code
    /// and the reason. The TCP connection has ended, too.
    ///
    /// # Panics
    /// If something else comes.
    pub async fn expect_close(&mut self) -> (u16, String) {
        let (messages, code, reason) = self.recv_until_close().await;
        assert!(messages.is_empty(), "only a close frame was expected, found {messages:?}");
        (code, reason)
    }

    /// All messages until the server closes the connection, the close code and
    /// the reason. The TCP connection has ended, too.
    ///
    /// # Panics
    /// If there is no close frame, or something behind it.
    pub async fn recv_until_close(&mut self) -> (Vec<Message>, u16, String) {
        let mut messages = Vec::new();
        let (code, reason) = loop {
            match self.recv().await {
                Message::Close(Some(CloseFrame { code, reason })) => break (code, reason),
                Message::Close(None) => panic!("a close frame without a code"),
                message => messages.push(message),
            }
        };
        match self.next().await {
            None | Some(Err(Error::ConnectionClosed | Error::Protocol(_) | Error::Io(_))) => {}
            more => panic!("nothing was expected after the close frame, found {more:?}"),
        }
        (messages, code.into(), reason.to_string())
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        timeout(PATIENCE, self.stream.next()).await.expect("the server says something in time")
    }
}

impl TestSocket {
    /// Its two halves, for a client that reads while it writes.
    #[must_use]
    pub fn split(self) -> (SocketReader, SocketWriter) {
        let (sink, stream) = self.stream.split();
        (SocketReader(stream), SocketWriter(sink))
    }
}

/// The half of a connection that reads.
#[derive(Debug)]
pub struct SocketReader(SplitStream<WebSocketStream<Box<dyn Wire>>>);

/// The half of a connection that writes.
#[derive(Debug)]
pub struct SocketWriter(SplitSink<WebSocketStream<Box<dyn Wire>>, Message>);

impl SocketReader {
    /// The next message, which is JSON.
    ///
    /// # Panics
    /// If it is anything else.
    pub async fn recv_json(&mut self) -> Value {
        let next = timeout(PATIENCE, self.0.next()).await.expect("the server says something");
        match next {
            Some(Ok(Message::Text(text))) => {
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
            }
            other => panic!("a text frame was expected, found {other:?}"),
        }
    }
}

impl SocketWriter {
    /// Sends a text frame as it is, however long the server takes to read.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send_text(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.expect("the connection is open");
    }

    /// Sends a JSON term in a text frame.
    pub async fn send_json(&mut self, json: &Value) {
        self.send_text(json.to_string()).await;
    }
}
