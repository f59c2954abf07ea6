//! A client that does as little as it can, so that the server is what is
//! measured.

use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::scan::elements;
use crate::websocket::{self, Kind};

/// One connection that has joined one topic.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    topic: String,
    /// The text of one message, kept for its memory.
    text: String,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// How much of `incoming` has been looked at.
    seen: usize,
}

/// What the server sent, as far as a load generator cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A reply with status `ok`, and its ref.
    Reply(u64),
    /// The payload of a push or broadcast.
    Message(&'a str),
}

/// Connections of one source address. A closed connection blocks its port for a
/// minute, and Linux has some 28,000 for each address: this leaves room for the
/// rounds of that minute.
const PER_SOURCE: usize = 1000;
/// Room to read into.
const READ_BYTES: usize = 4096;
const JOIN_REF: u64 = 0;

impl Client {
    /// Connects and joins. `number` spreads connections over the loopback
    /// addresses 127.0.0.1, 127.0.0.2, …
    pub async fn join(server: SocketAddr, number: usize, topic: String) -> Result<Self> {
        let last = u8::try_from(1 + number / PER_SOURCE).context("too many connections")?;
        let socket = TcpSocket::new_v4()?;
        if server.ip().is_loopback() {
            socket.bind(SocketAddr::from(([127, 0, 0, last], 0)))?;
        }
        let stream = socket.connect(server).await.context("failed to connect")?;
        stream.set_nodelay(true)?;
        let mut client = Self {
            stream,
            topic,
            text: String::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            seen: 0,
        };
        client.upgrade(server).await.context("failed to open a WebSocket")?;
        client.push(JOIN_REF, "phx_join", "{}");
        client.flush().await?;
        loop {
            match client.next()? {
                Some(Incoming::Reply(JOIN_REF)) => return Ok(client),
                Some(other) => bail!("a join reply was expected, found {other:?}"),
                None => client.read().await?,
            }
        }
    }

    async fn upgrade(&mut self, server: SocketAddr) -> Result<()> {
        self.outgoing.extend(websocket::upgrade_request(&server.to_string()).bytes());
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
        // Writing to a string cannot fail.
        let _ = write!(self.text, "[\"{JOIN_REF}\",\"{reference}\",\"");
        for part in [&self.topic, "\",\"", event, "\",", payload, "]"] {
            self.text.push_str(part);
        }
        websocket::append_text(&mut self.outgoing, &self.text);
    }

    /// Writes what is queued, at once.
    pub async fn flush(&mut self) -> Result<()> {
        if !self.outgoing.is_empty() {
            self.stream.write_all(&self.outgoing).await?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Waits until something has arrived, and reads it. Cancel safe: what was
    /// read is kept.
    pub async fn read(&mut self) -> Result<()> {
        self.incoming.drain(..self.seen);
        self.seen = 0;
        self.incoming.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.incoming).await?;
        ensure!(read > 0, "the server closed the connection");
        Ok(())
    }

    /// The next message of those that have been read.
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Incoming<'_>>> {
        loop {
            let Some(found) = websocket::find(&self.incoming, self.seen) else { return Ok(None) };
            self.seen = found.payload.end;
            match found.kind {
                Kind::Control => {}
                Kind::Close => bail!("the server closes the connection"),
                Kind::Unexpected => bail!("an unexpected frame"),
                Kind::Text => {
                    let payload = self.incoming.get(found.payload).unwrap_or_default();
                    return incoming(std::str::from_utf8(payload)?).map(Some);
                }
            }
        }
    }

    /// Queues another join of the topic.
    pub fn rejoin(&mut self) {
        self.push(JOIN_REF, "phx_join", "{}");
    }

    /// Passes over what has been read, whatever it is.
    pub fn discard(&mut self) {
        self.seen = self.incoming.len();
    }

    /// The bare connection, for a client that will say nothing more.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}

fn incoming(text: &str) -> Result<Incoming<'_>> {
    let Some([_, reference, _, event, payload]) = elements(text) else {
        bail!("an unexpected message: {text}");
    };
    if event != r#""phx_reply""# {
        return Ok(Incoming::Message(payload));
    }
    ensure!(payload.contains(r#""status":"ok""#), "the server refused: {text}");
    let reference = reference.trim_matches('"').parse();
    Ok(Incoming::Reply(reference.with_context(|| format!("an unexpected ref: {text}"))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_and_messages_are_told_apart() {
        let reply = r#"["0","17","room:1","phx_reply",{"response":{},"status":"ok"}]"#;
        assert_eq!(incoming(reply).unwrap(), Incoming::Reply(17));
        let broadcast = r#"[null,null,"room:1","shout",{"n":1}]"#;
        assert_eq!(incoming(broadcast).unwrap(), Incoming::Message(r#"{"n":1}"#));
        for refused in [
            r#"["0","17","room:1","phx_reply",{"response":{},"status":"error"}]"#,
            r#"["0",null,"room:1","phx_reply",{"response":{},"status":"ok"}]"#,
            "{}",
        ] {
            incoming(refused).unwrap_err();
        }
    }
}
