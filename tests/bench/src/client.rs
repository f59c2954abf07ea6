//! A client that does as little as it can, so that the server is what is
//! measured.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::scan::elements;

/// One connection that has joined one topic.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<TcpStream>,
    topic: String,
}

/// What the server sent, as far as a load generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// A reply with status `ok`, and its ref.
    Reply(u64),
    /// A push or broadcast.
    Message,
}

/// Connections of one source address; Linux has some 28,000 ports for each.
const PER_SOURCE: usize = 10_000;

impl Client {
    /// Connects and joins. `number` spreads connections over the loopback
    /// addresses 127.0.0.1, 127.0.0.2, …
    pub async fn join(address: &str, number: usize, topic: String) -> Result<Self> {
        let server: SocketAddr = address.parse().context("the server's address")?;
        let last = u8::try_from(1 + number / PER_SOURCE).context("too many connections")?;
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        let url = format!("ws://{address}/socket/websocket?vsn=2.0.0");
        let config = WebSocketConfig::default().read_buffer_size(4096);
        let (socket, _) =
            tokio_tungstenite::client_async_with_config(url, stream, Some(config)).await?;
        let mut client = Self { socket, topic };
        client.queue(0, "phx_join", "{}").await?;
        client.flush().await?;
        match client.receive().await? {
            Incoming::Reply(0) => Ok(client),
            other => bail!("a join reply was expected, found {other:?}"),
        }
    }

    /// Puts a message into the write buffer.
    pub async fn queue(&mut self, reference: u64, event: &str, payload: &str) -> Result<()> {
        let topic = &self.topic;
        let frame = format!(r#"["0","{reference}","{topic}","{event}",{payload}]"#);
        Ok(self.socket.feed(Message::text(frame)).await?)
    }

    /// Writes what is queued.
    pub async fn flush(&mut self) -> Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// The next message of the server.
    pub async fn receive(&mut self) -> Result<Incoming> {
        loop {
            match self.socket.next().await.context("the server closed the connection")?? {
                Message::Text(text) => return incoming(&text),
                Message::Close(frame) => bail!("the server closed the connection: {frame:?}"),
                _ => {}
            }
        }
    }
}

fn incoming(text: &str) -> Result<Incoming> {
    let [_, reference, _, event, payload] =
        elements(text).with_context(|| format!("an unexpected frame: {text}"))?;
    if event != r#""phx_reply""# {
        return Ok(Incoming::Message);
    }
    if !payload.contains(r#""status":"ok""#) {
        bail!("the server refused: {text}");
    }
    let reference = reference.trim_matches('"').parse();
    Ok(Incoming::Reply(reference.with_context(|| format!("an unexpected ref: {text}"))?))
}
