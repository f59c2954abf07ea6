//! The floor: the cost of the transport with nothing behind it.
//!
//! It speaks just enough of version 2 of the protocol to be measured with the same load: joins,
//! heartbeats and leaves are answered `ok`, `ping` is echoed, `shout` goes to everybody on the
//! topic. There is no routing, no check and no JSON.
//!
//! It does by hand what a fast server does: all frames that have arrived are answered with one
//! write, a broadcast is encoded once, and buffers are small.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use clap::Parser;
use futures_util::{SinkExt, StreamExt};
use millrace_bench::scan::elements;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

/// The floor to compare servers of the Phoenix protocol with.
#[derive(Debug, Parser)]
struct Cli {
    /// Where to listen; port 0 picks one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// The outboxes of the clients that have joined each topic.
type Topics = Mutex<HashMap<String, Vec<Arc<Outbox>>>>;

/// The broadcasts that wait for one client.
#[derive(Debug, Default)]
struct Outbox(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    frames: Vec<Utf8Bytes>,
    waker: Option<Waker>,
    overrun: bool,
}

/// One connection; dropping it removes it from its topics.
struct Connection {
    socket: WebSocketStream<TcpStream>,
    topics: Arc<Topics>,
    joined: Vec<String>,
    outbox: Arc<Outbox>,
}

/// The size of the read buffer. Every connection keeps one, and reading fills it with zeros.
const READ_BUFFER_BYTES: usize = 4 * 1024;
const WRITE_BUFFER_BYTES: usize = 16 * 1024;
/// The most broadcasts that wait for a client; with more, it is cut off.
const OUTBOX_FRAMES: usize = 1024;
/// The frames that are taken from one client before others get their turn.
const TURN_FRAMES: usize = 64;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind(cli.listen).await?;
    writeln!(std::io::stdout(), "floor is listening on http://{}", listener.local_addr()?)?;
    let topics = Arc::<Topics>::default();
    loop {
        let (stream, _) = listener.accept().await?;
        let topics = Arc::clone(&topics);
        tokio::spawn(async move {
            // The handshake is on the heap: otherwise its memory would stay with the task.
            let Ok(socket) = Box::pin(accept(stream)).await else { return };
            let (joined, outbox) = (Vec::new(), Arc::default());
            let mut connection = Connection { socket, topics, joined, outbox };
            // A client that disconnects is not an error here.
            let _ = std::future::poll_fn(|cx| connection.poll(cx)).await;
        });
    }
}

async fn accept(stream: TcpStream) -> Result<WebSocketStream<TcpStream>, Error> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES);
    tokio_tungstenite::accept_hdr_async_with_config(stream, route, Some(config)).await
}

#[expect(clippy::result_large_err, reason = "the handshake wants it like this")]
fn route(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    if request.uri().path() == "/socket/websocket" {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::default();
    *refusal.status_mut() = StatusCode::NOT_FOUND;
    Err(refusal)
}

impl Connection {
    /// Handles what has arrived, then writes everything at once. Ready when the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for turn in 0.. {
            if self.socket.poll_ready_unpin(cx)?.is_pending() {
                // A client that does not read is not read from.
                return Poll::Pending;
            }
            if turn == TURN_FRAMES {
                cx.waker().wake_by_ref();
                break;
            }
            match self.socket.poll_next_unpin(cx)? {
                Poll::Ready(Some(Message::Text(text))) => self.handle(&text)?,
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        for broadcast in self.outbox.take(cx)? {
            self.socket.start_send_unpin(Message::Text(broadcast))?;
        }
        // Whether it is written or not, a frame, a broadcast or room to write wakes the task.
        let _ = self.socket.poll_flush_unpin(cx)?;
        Poll::Pending
    }

    fn handle(&mut self, text: &str) -> Result<(), Error> {
        let Some([join_ref, reference, topic, event, payload]) = elements(text) else {
            return Err(Error::ConnectionClosed);
        };
        let mut response = "{}";
        match event {
            r#""ping""# => response = payload,
            r#""phx_join""# => self.join(topic),
            r#""phx_leave""# => self.leave(topic),
            r#""shout""# => {
                let frame = ["[null,null,", topic, ",", event, ",", payload, "]"].concat();
                self.broadcast(topic, &frame.into());
            }
            _ => {}
        }
        let (open, close) = (r#","phx_reply",{"status":"ok","response":"#, "}]");
        self.send(["[", join_ref, ",", reference, ",", topic, open, response, close].concat())?;
        if event == r#""phx_leave""# {
            let close = r#","phx_close",{}]"#;
            self.send(["[", join_ref, ",", join_ref, ",", topic, close].concat())?;
        }
        Ok(())
    }

    fn send(&mut self, frame: String) -> Result<(), Error> {
        self.socket.start_send_unpin(Message::text(frame))
    }

    fn join(&mut self, topic: &str) {
        self.leave(topic);
        let outbox = Arc::clone(&self.outbox);
        lock(&self.topics).entry(topic.to_owned()).or_default().push(outbox);
        self.joined.push(topic.to_owned());
    }

    fn leave(&mut self, topic: &str) {
        self.joined.retain(|joined| joined != topic);
        let mut topics = lock(&self.topics);
        let Some(outboxes) = topics.get_mut(topic) else { return };
        outboxes.retain(|outbox| !Arc::ptr_eq(outbox, &self.outbox));
        if outboxes.is_empty() {
            topics.remove(topic);
        }
    }

    fn broadcast(&self, topic: &str, frame: &Utf8Bytes) {
        for outbox in lock(&self.topics).get(topic).into_iter().flatten() {
            outbox.push(frame.clone());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        for topic in std::mem::take(&mut self.joined) {
            self.leave(&topic);
        }
    }
}

impl Outbox {
    fn push(&self, frame: Utf8Bytes) {
        let mut waiting = lock(&self.0);
        if waiting.frames.len() < OUTBOX_FRAMES {
            waiting.frames.push(frame);
        } else {
            waiting.overrun = true;
        }
        let waker = waiting.waker.take();
        drop(waiting);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the broadcasts that wait. If there are none, the task is woken for the next one.
    fn take(&self, cx: &Context<'_>) -> Result<Vec<Utf8Bytes>, Error> {
        let mut waiting = lock(&self.0);
        if waiting.overrun {
            return Err(Error::ConnectionClosed);
        }
        waiting.waker = Some(cx.waker().clone());
        Ok(std::mem::take(&mut waiting.frames))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
