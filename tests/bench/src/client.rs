//! A client that does as little as possible, so that only the server is measured.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::protocol::{Heard, Incoming, Protocol};
use crate::server::Endpoint;
use crate::websocket::{self, Kind};

/// One connection with one topic.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    protocol: Protocol,
    topic: String,
    /// The text of the last message, kept for its memory.
    text: String,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// The number of bytes of `incoming` that were parsed.
    seen: usize,
}

/// The connections of one source address. A closed connection blocks its port for a minute, and
/// Linux has some 28,000 ports for each address: this leaves enough for the rounds of that minute.
const PER_SOURCE: usize = 1000;
/// The bytes that are reserved for a read.
const READ_BYTES: usize = 4096;
const JOIN_REF: u64 = 0;
const LEAVE_REF: u64 = 1;
const HEARTBEAT_REF: u64 = 2;

impl Client {
    /// Connects and joins. `number` spreads connections over the loopback
    /// addresses 127.0.0.1, 127.0.0.2, …
    pub async fn join(server: Endpoint, number: usize, topic: String) -> Result<Self> {
        let mut client = Self::connect(server, number, topic).await?;
        client.join_topic().await?;
        Ok(client)
    }

    /// Connects without joining.
    pub async fn connect(server: Endpoint, number: usize, topic: String) -> Result<Self> {
        let last = u8::try_from(1 + number / PER_SOURCE).context("too many connections")?;
        let socket = TcpSocket::new_v4()?;
        if server.address.ip().is_loopback() {
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        }
        let stream = socket.connect(server.address).await.context("failed to connect")?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            protocol: server.protocol,
            topic,
            text: String::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            seen: 0,
        };
        client.upgrade(server.address).await.context("failed to open a WebSocket")?;
        if let Some(hello) = client.protocol.hello() {
            websocket::append_text(&mut client.outgoing, hello);
            client.flush().await?;
            client.hear_of(|heard| matches!(heard, Heard::Welcome)).await?;
        }
        Ok(client)
    }

    /// Joins the topic, and waits for the reply.
    pub async fn join_topic(&mut self) -> Result<()> {
        self.rejoin();
        self.flush().await?;
        let joined = |heard: &Heard<'_>| *heard == Heard::Incoming(Incoming::Reply(JOIN_REF));
        self.hear_of(joined).await.context("failed to join")
    }

    /// Joins the topic as somebody who is present, and waits for the reply.
    pub async fn join_tracking(&mut self, key: &str) -> Result<()> {
        let meta = r#"{"at":1234567890,"name":"the quick brown fox","tab":1}"#;
        let params = format!(r#"{{"track":"{key}","meta":{meta}}}"#);
        self.push(JOIN_REF, self.protocol.join(), &params);
        self.flush().await?;
        let joined = |heard: &Heard<'_>| *heard == Heard::Incoming(Incoming::Reply(JOIN_REF));
        self.hear_of(joined).await.context("failed to join")
    }

    /// Leaves the topic, and waits for the reply.
    pub async fn leave_topic(&mut self) -> Result<()> {
        self.push(LEAVE_REF, self.protocol.leave(), "{}");
        self.flush().await?;
        let left = |heard: &Heard<'_>| *heard == Heard::Incoming(Incoming::Reply(LEAVE_REF));
        self.hear_of(left).await.context("failed to leave")
    }

    /// Sends a Phoenix heartbeat, and waits for the reply.
    pub async fn heartbeat(&mut self) -> Result<()> {
        ensure!(self.protocol == Protocol::Phoenix, "heartbeats are those of Phoenix");
        self.text.clear();
        self.protocol.push(&mut self.text, HEARTBEAT_REF, "phoenix", "heartbeat", "{}");
        websocket::append_text(&mut self.outgoing, &self.text);
        self.flush().await?;
        let beat = |heard: &Heard<'_>| *heard == Heard::Incoming(Incoming::Reply(HEARTBEAT_REF));
        self.hear_of(beat).await.context("a heartbeat failed")
    }

    /// Reads until `wanted` is true; any other message of the channel is an error.
    async fn hear_of(&mut self, wanted: impl Fn(&Heard<'_>) -> bool) -> Result<()> {
        loop {
            match self.hear()? {
                Some(heard) if wanted(&heard) => return Ok(()),
                Some(Heard::Incoming(other)) => bail!("a reply was expected, found {other:?}"),
                Some(Heard::Welcome | Heard::Nothing) => {}
                None => self.read().await?,
            }
        }
    }

    async fn upgrade(&mut self, server: SocketAddr) -> Result<()> {
        let request = websocket::upgrade_request(&server.to_string(), self.protocol.path());
        self.outgoing.extend(request.bytes());
        self.flush().await?;
        loop {
            self.read().await?;
            let end = self.incoming.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else { continue };
            let response = String::from_utf8_lossy(self.incoming.get(..end).unwrap_or_default());
            ensure!(websocket::is_upgraded(&response), "the server refused: {response}");
            self.seen = end + 4;
            return Ok(());
        }
    }

    /// Queues a message; [`Self::flush`] writes it.
    pub fn push(&mut self, reference: u64, event: &str, payload: &str) {
        self.text.clear();
        self.protocol.push(&mut self.text, reference, &self.topic, event, payload);
        websocket::append_text(&mut self.outgoing, &self.text);
    }

    /// Writes the queued messages at once.
    pub async fn flush(&mut self) -> Result<()> {
        if !self.outgoing.is_empty() {
            self.stream.write_all(&self.outgoing).await?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Waits until something has arrived, and reads it. Cancel safe: nothing that was read is lost.
    pub async fn read(&mut self) -> Result<()> {
        self.incoming.drain(..self.seen);
        self.seen = 0;
        self.incoming.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.incoming).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }

    /// The next message among those that were read.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Incoming<'_>>> {
        loop {
            match find(self.protocol, &self.incoming, &mut self.seen)? {
                None => return Ok(None),
                Some(Heard::Incoming(incoming)) => return Ok(Some(incoming)),
                Some(Heard::Welcome | Heard::Nothing) => {}
            }
        }
    }

    fn hear(&mut self) -> Result<Option<Heard<'_>>> {
        find(self.protocol, &self.incoming, &mut self.seen)
    }

    /// Queues another join of the topic.
    pub fn rejoin(&mut self) {
        self.push(JOIN_REF, self.protocol.join(), "{}");
    }

    /// The topic of the client.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The bytes that were read and not parsed.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.incoming.get(self.seen..).unwrap_or_default()
    }

    /// Skips everything that was read.
    pub fn discard(&mut self) {
        self.seen = self.incoming.len();
    }

    /// The bare connection, for a client that sends no more messages.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

/// The content of the next whole frame.
fn find<'a>(protocol: Protocol, bytes: &'a [u8], seen: &mut usize) -> Result<Option<Heard<'a>>> {
    let Some(found) = websocket::find(bytes, *seen) else { return Ok(None) };
    *seen = found.payload.end;
    match found.kind {
        Kind::Control => Ok(Some(Heard::Nothing)),
        Kind::Close => bail!("the server closes the connection"),
        Kind::Unexpected => bail!("an unexpected frame"),
        Kind::Text => {
            let payload = bytes.get(found.payload).unwrap_or_default();
            protocol.hear(std::str::from_utf8(payload)?).map(Some)
        }
    }
}
