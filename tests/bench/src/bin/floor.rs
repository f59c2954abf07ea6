//! The floor: what the transport costs with nothing behind it.
//!
//! Speaks just enough of version 2 of the protocol to be measured with the same
//! load: joins, heartbeats and leaves are answered `ok`, `ping` is echoed,
//! `shout` goes to everybody on the topic. No routing, no limits, no JSON.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{FutureExt, SinkExt, StreamExt};
use millrace_bench::scan::elements;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Who has joined what.
type Topics = Arc<Mutex<HashMap<String, Vec<mpsc::Sender<Utf8Bytes>>>>>;

/// Messages waiting for one client; a slower one is cut off.
const QUEUE: usize = 1024;
/// Frames handled before replies are written.
const BATCH: usize = 64;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    rlimit::increase_nofile_limit(u64::MAX)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "floor on http://{}", listener.local_addr()?)?;
    let topics = Topics::default();
    loop {
        let (stream, _) = listener.accept().await?;
        let topics = Arc::clone(&topics);
        tokio::spawn(async move {
            // A client that goes away is no error here.
            let _ = serve(stream, topics).await;
        });
    }
}

async fn serve(stream: TcpStream, topics: Topics) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(16 * 1024);
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    let (sender, mut queue) = mpsc::channel::<Utf8Bytes>(QUEUE);
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(message) = message else { return Ok(()) };
                if let Some(reply) = handle(message?, &sender, &topics) {
                    socket.feed(Message::Text(reply)).await?;
                }
            }
            Some(broadcast) = queue.recv() => socket.feed(Message::Text(broadcast)).await?,
        }
        // What is there already goes out with the same write.
        for _ in 0..BATCH {
            if let Some(Some(message)) = socket.next().now_or_never() {
                if let Some(reply) = handle(message?, &sender, &topics) {
                    socket.feed(Message::Text(reply)).await?;
                }
            } else if let Ok(broadcast) = queue.try_recv() {
                socket.feed(Message::Text(broadcast)).await?;
            } else {
                break;
            }
        }
        socket.flush().await?;
    }
}

fn handle(
    message: Message,
    sender: &mpsc::Sender<Utf8Bytes>,
    topics: &Topics,
) -> Option<Utf8Bytes> {
    let Message::Text(text) = message else { return None };
    let [join_ref, reference, topic, event, payload] = elements(&text)?;
    let response = match event {
        r#""ping""# => payload,
        r#""phx_join""# => {
            let mut topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
            topics.entry(topic.to_owned()).or_default().push(sender.clone());
            "{}"
        }
        r#""shout""# => {
            let frame = Utf8Bytes::from(format!("[null,null,{topic},{event},{payload}]"));
            let topics = topics.lock().unwrap_or_else(PoisonError::into_inner);
            for subscriber in topics.get(topic).into_iter().flatten() {
                let _ = subscriber.try_send(frame.clone());
            }
            "{}"
        }
        _ => "{}",
    };
    let reply = format!(
        r#"[{join_ref},{reference},{topic},"phx_reply",{{"status":"ok","response":{response}}}]"#
    );
    Some(reply.into())
}
