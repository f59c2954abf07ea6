//! WebSocket frames by hand, for what a WebSocket library would not send.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{HttpRequest, PATIENCE};

/// What a frame is (RFC 6455, section 11.8).
pub mod opcode {
    /// Goes on with the message before it.
    pub const CONTINUATION: u8 = 0;
    /// UTF-8.
    pub const TEXT: u8 = 1;
    /// Bytes.
    pub const BINARY: u8 = 2;
    /// The last frame.
    pub const CLOSE: u8 = 8;
    /// Asks for a pong.
    pub const PING: u8 = 9;
    /// Answers a ping.
    pub const PONG: u8 = 10;
}

/// The bit of a frame that is the last of its message.
const FIN: u8 = 0x80;
/// The bit of a frame that is masked.
const MASKED: u8 = 0x80;
/// Any key will do.
const MASK: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

/// A connection behind its handshake, down to the bits of its frames.
#[derive(Debug)]
pub struct RawSocket {
    stream: BufReader<TcpStream>,
}

impl RawSocket {
    /// Opens a WebSocket that speaks version 2.
    pub async fn connect(address: &str) -> Self {
        Self::open(address, &HttpRequest::upgrade("/socket/websocket?vsn=2.0.0")).await
    }

    /// Opens a WebSocket with a request of one's own.
    ///
    /// # Panics
    /// If the server does not accept.
    pub async fn open(address: &str, request: &HttpRequest) -> Self {
        let (response, stream) = request.open(address).await;
        assert_eq!(response.status, 101, "{response:?}");
        Self { stream }
    }

    /// The bytes of a whole message in one frame.
    #[must_use]
    pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        frame(FIN | opcode, MASKED, payload)
    }

    /// The bytes of a frame that is not the last of its message.
    #[must_use]
    pub fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
        frame(opcode, MASKED, payload)
    }

    /// Sends a whole message in one frame.
    pub async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.send_bytes(&Self::frame(opcode, payload)).await;
    }

    /// Sends a frame that is not the last of its message.
    pub async fn send_part(&mut self, opcode: u8, payload: &[u8]) {
        self.send_bytes(&frame(opcode, MASKED, payload)).await;
    }

    /// Sends a frame as a server would: not masked, which clients must not do.
    pub async fn send_unmasked(&mut self, opcode: u8, payload: &[u8]) {
        self.send_bytes(&frame(FIN | opcode, 0, payload)).await;
    }

    /// Closes the half of the connection that goes to the server.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn say_no_more(&mut self) {
        self.stream.shutdown().await.expect("the connection is open");
    }

    /// Announces a frame of `len` bytes and sends none of them.
    pub async fn announce(&mut self, opcode: u8, len: u64) {
        let mut header = vec![FIN | opcode, MASKED | 127];
        header.extend(len.to_be_bytes());
        header.extend(MASK);
        self.send_bytes(&header).await;
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// If the connection is closed.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the connection is open");
    }

    /// The next frame: its first byte (the final bit and the opcode) and its
    /// payload.
    ///
    /// # Panics
    /// If there is none.
    pub async fn recv(&mut self) -> (u8, Vec<u8>) {
        timeout(PATIENCE, self.read_frame())
            .await
            .expect("the server says something in time")
            .expect("a whole frame")
    }

    /// The next frame is this whole message.
    pub async fn expect(&mut self, opcode: u8, payload: &[u8]) {
        let (head, found) = self.recv().await;
        let found = found.escape_ascii().to_string();
        assert_eq!((head, found), (FIN | opcode, payload.escape_ascii().to_string()));
    }

    /// The next frame answers the heartbeat with this string as its `ref`.
    pub async fn expect_heartbeat(&mut self, reference: &str) {
        let (head, payload) = self.recv().await;
        let found: Value = serde_json::from_slice(&payload)
            .unwrap_or_else(|error| panic!("{error} in {}", payload.escape_ascii()));
        let ok = json!({ "status": "ok", "response": {} });
        let expected = json!([null, reference, "phoenix", "phx_reply", ok]);
        assert_eq!((head, found), (FIN | opcode::TEXT, expected));
    }

    /// The server closes the connection with nothing before it: the close code
    /// and the reason.
    ///
    /// # Panics
    /// If it does not.
    pub async fn expect_close(&mut self) -> (u16, String) {
        let (head, payload) = self.recv().await;
        assert_eq!(head, FIN | opcode::CLOSE, "{}", payload.escape_ascii());
        let (code, reason) = payload.split_first_chunk::<2>().expect("a close code");
        let reason = String::from_utf8(reason.to_vec()).expect("a reason in UTF-8");
        (u16::from_be_bytes(*code), reason)
    }

    /// The TCP connection ends, with nothing before it.
    ///
    /// # Panics
    /// If it does not.
    pub async fn expect_end(&mut self) {
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        // A reset is an end, too.
        let _ = end.expect("the server ends the connection");
        assert!(rest.is_empty(), "nothing was expected, found {}", rest.escape_ascii());
    }

    async fn read_frame(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let head = self.stream.read_u8().await?;
        let len = match self.stream.read_u8().await? {
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            len => u64::from(len),
        };
        let mut payload = vec![0; usize::try_from(len).expect("a length that fits")];
        self.stream.read_exact(&mut payload).await?;
        Ok((head, payload))
    }
}

fn frame(head: u8, masked: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![head];
    match payload.len() {
        len @ 0..=125 => frame.push(masked | u8::try_from(len).expect("at most 125")),
        len => {
            frame.push(masked | 127);
            frame.extend(u64::try_from(len).expect("a length that fits").to_be_bytes());
        }
    }
    if masked == 0 {
        frame.extend(payload);
    } else {
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    }
    frame
}
