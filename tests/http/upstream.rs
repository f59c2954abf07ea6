//! A server for plugins to send requests to. It answers with bytes as they are,
//! so that a test can have it do what no proper server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Ends with its handle.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

/// What it answers to the head and body of a request; `None` for nothing at
/// all, with the connection left open.
type Answer = fn(&str) -> Option<Vec<u8>>;

impl Upstream {
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::bind(None, answer).await
    }

    pub(crate) async fn start_tls(tls: TlsAcceptor, answer: Answer) -> Self {
        Self::bind(Some(tls), answer).await
    }

    async fn bind(tls: Option<TlsAcceptor>, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (tls, count) = (tls.clone(), Arc::clone(&count));
                tokio::spawn(async move {
                    match tls {
                        None => serve(tcp, answer, &count).await,
                        // A client that does not trust it is gone here.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                serve(stream, answer, &count).await;
                            }
                        }
                    }
                });
            }
        });
        Self { port, requests, task }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request after the other.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: Answer,
    count: &AtomicUsize,
) {
    let mut buffer = Vec::new();
    loop {
        let Some(end) = request_end(&buffer) else {
            match stream.read_buf(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            }
        };
        let request: Vec<u8> = buffer.drain(..end).collect();
        count.fetch_add(1, Ordering::Relaxed);
        match answer(&String::from_utf8_lossy(&request)) {
            Some(response) => {
                if stream.write_all(&response).await.is_err() {
                    return;
                }
            }
            None => std::future::pending().await,
        }
    }
}

/// Where the first request ends, once it is there whole.
fn request_end(buffer: &[u8]) -> Option<usize> {
    let head = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
    let end = head + length.map_or(0, |length| length.trim().parse().unwrap());
    (buffer.len() >= end).then_some(end)
}

/// A response with a body.
pub(crate) fn response(head: &str, body: &str) -> Option<Vec<u8>> {
    let length = body.len();
    Some(format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes())
}
