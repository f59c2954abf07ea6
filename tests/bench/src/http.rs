//! HTTP requests to a server, one after the other on one connection.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that is kept open.
#[derive(Debug)]
pub struct Http {
    stream: TcpStream,
    /// The `Host` header, which a server on loopback checks.
    server: SocketAddr,
    incoming: Vec<u8>,
}

/// A response of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, such as 202.
    pub status: u16,
    /// The body as text.
    pub body: String,
}

impl Http {
    /// Connects to a server.
    pub async fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(server).await.context("failed to connect")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, server, incoming: Vec::new() })
    }

    /// `GET`s a path.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        let host = self.server;
        self.request(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }

    /// `POST`s lines of JSON to a path.
    pub async fn post_lines(&mut self, path: &str, lines: &str) -> Result<Answer> {
        let (host, length) = (self.server, lines.len());
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-ndjson\r\n\
             Content-Length: {length}\r\n\r\n{lines}"
        );
        self.request(&request).await
    }

    /// `POST`s bytes, and reads the lines of JSON that come until the server closes the connection,
    /// which cannot be used any more then.
    pub async fn post_for_lines(
        &mut self,
        path: &str,
        media_type: &str,
        body: &[u8],
    ) -> Result<Vec<Value>> {
        let (host, length) = (self.server, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: {media_type}\r\nContent-Length: {length}\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.write_all(body).await?;
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "the server refused: {answer}");
        // The sizes of chunks are around the lines.
        let lines = answer.lines().filter(|line| line.starts_with('{'));
        Ok(lines.map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    async fn request(&mut self, request: &str) -> Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        self.incoming.clear();
        loop {
            let read = self.stream.read_buf(&mut self.incoming).await?;
            ensure!(read > 0, "the server closed the connection");
            if let Some(answer) = answer(&self.incoming)? {
                return Ok(answer);
            }
        }
    }
}

/// A whole response with a `content-length`; `None` until it is complete.
fn answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let text = std::str::from_utf8(bytes)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
    let unexpected = || format!("an unexpected response: {head}");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
    });
    let length = length.with_context(unexpected)??;
    let status = status.with_context(unexpected)?;
    Ok(body.get(..length).map(|body| Answer { status, body: body.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_when_its_body_is() {
        let whole = "HTTP/1.1 202 Accepted\r\nContent-Length: 3\r\n\r\nyes";
        let expected = Answer { status: 202, body: "yes".to_owned() };
        assert_eq!(answer(whole.as_bytes()).unwrap(), Some(expected));
        for end in [10, 45, whole.len() - 1] {
            assert_eq!(answer(whole.get(..end).unwrap().as_bytes()).unwrap(), None, "{end}");
        }
        answer(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err();
    }
}
