//! Plain HTTP/1.1 over TCP, for what happens before there is a WebSocket.

use std::fmt::Write;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;

/// A request. Header names are sent as they are given.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    behind: Vec<u8>,
    /// `HTTP/1.1` and a `Host`, unless a test leaves it out.
    version: &'static str,
    has_host: bool,
}

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As far as the answer has one.
    pub body: String,
}

impl HttpRequest {
    /// A request with no headers but `Host`.
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        let (method, path) = (method.to_owned(), path.to_owned());
        let (headers, behind) = (Vec::new(), Vec::new());
        Self { method, path, headers, behind, version: "HTTP/1.1", has_host: true }
    }

    /// The opening handshake of a WebSocket (RFC 6455, section 1.3, with its
    /// sample key).
    #[must_use]
    pub fn upgrade(path: &str) -> Self {
        Self::new("GET", path)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// Adds a header, or replaces the one of that name.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header on a line of its own, whether there is one of that name or not.
    #[must_use]
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without a `Host`, unless one is added.
    #[must_use]
    pub fn without_host(mut self) -> Self {
        self.has_host = false;
        self
    }

    /// The same in HTTP/1.0.
    #[must_use]
    pub fn old(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// Takes a header out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// The same with another method.
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    /// Bytes that go out in the same packet, right behind the request.
    #[must_use]
    pub fn behind(mut self, bytes: &[u8]) -> Self {
        self.behind = bytes.to_owned();
        self
    }

    /// A body, with its type and its length.
    #[must_use]
    pub fn body(self, content_type: &str, body: &str) -> Self {
        let length = body.len().to_string();
        let described = self.header("Content-Type", content_type).header("Content-Length", &length);
        described.behind(body.as_bytes())
    }

    /// Sends it and reads the answer.
    pub async fn send(&self, address: &str) -> HttpResponse {
        self.open(address).await.0
    }

    /// Sends it over anything, and reads the answer.
    pub async fn send_over(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> HttpResponse {
        let mut stream = BufReader::new(stream);
        self.ask(&mut stream, "localhost").await
    }

    /// Sends it, reads the answer, and gives the connection behind it.
    pub(crate) async fn open(&self, address: &str) -> (HttpResponse, BufReader<TcpStream>) {
        let tcp = TcpStream::connect(address).await.expect("the server listens");
        let mut stream = BufReader::new(tcp);
        let response = self.ask(&mut stream, address).await;
        (response, stream)
    }

    async fn ask<S>(&self, stream: &mut BufReader<S>, address: &str) -> HttpResponse
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.text(address);
        let bytes = [request.as_bytes(), &self.behind].concat();
        stream.write_all(&bytes).await.expect("the server reads");
        timeout(PATIENCE, HttpResponse::read(stream, &self.method))
            .await
            .unwrap_or_else(|_| panic!("no answer to {request}"))
    }

    fn text(&self, address: &str) -> String {
        let mut text = format!("{} {} {}\r\n", self.method, self.path, self.version);
        if self.has_host && !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            let _ = write!(text, "Host: {address}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text
    }
}

impl HttpResponse {
    /// The value of a header, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    async fn read(stream: &mut BufReader<impl AsyncRead + Unpin>, method: &str) -> Self {
        let status = read_line(stream).await;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.expect("a status line");
        let mut headers = Vec::new();
        loop {
            let line = read_line(stream).await;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Self { status, headers, body: String::new() };
        if matches!(status, 101 | 204 | 304) || method == "HEAD" {
            return response;
        }
        let length = response.header("content-length").and_then(|length| length.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        assert!(length.is_some(), "an answer without a length: {response:?}");
        stream.read_exact(&mut body).await.expect("the whole body");
        response.body = String::from_utf8(body).expect("a body of text");
        response
    }
}

async fn read_line(stream: &mut BufReader<impl AsyncRead + Unpin>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("a line of the answer");
    line.trim_end().to_owned()
}
