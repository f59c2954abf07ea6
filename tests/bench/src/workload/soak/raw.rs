//! Attackers that do not speak the protocol, or stop in the middle of it.

use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::server::Endpoint;
use crate::websocket;

/// The time for which they hold what they have begun.
const HELD: Duration = Duration::from_secs(3);

/// Opens a WebSocket without any message of Phoenix.
async fn opened(server: Endpoint, place: usize) -> Result<TcpStream> {
    Ok(Client::connect(server, place, String::new()).await?.into_stream())
}

/// The header of a masked frame.
fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first, 0x80 | 127];
    header.extend(length.to_be_bytes());
    header.extend([0; 4]);
    header
}

/// Sends half of a message of the largest size, and a fragment that nothing follows.
pub(super) async fn unfinished(server: Endpoint, place: usize) -> Result<()> {
    let mut stream = opened(server, place).await?;
    stream.write_all(&header(0x81, 4_000_000)).await?;
    stream.write_all(&vec![b' '; 2_000_000]).await?;
    let mut fragments = opened(server, place).await?;
    fragments.write_all(&header(0x01, 100_000)).await?;
    fragments.write_all(&vec![b' '; 100_000]).await?;
    sleep(HELD).await;
    Ok(())
}

/// Sends pings, and does not read the answers.
pub(super) async fn pings(server: Endpoint, place: usize) -> Result<()> {
    let mut stream = opened(server, place).await?;
    let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
    ping.extend([b'p'; 125]);
    let many = ping.repeat(200);
    for _ in 0..50 {
        stream.write_all(&many).await?;
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Sends a large message that is answered, and one that is too large.
pub(super) async fn large(server: Endpoint, place: usize) -> Result<()> {
    let mut client = Client::connect(server, place, format!("hostile:large{place}")).await?;
    client.rejoin();
    let payload = format!(r#"{{"text":"{}"}}"#, "x".repeat(1_000_000));
    client.push(10, "ping", &payload);
    client.flush().await?;
    for _ in 0..20 {
        client.read().await?;
        client.discard();
    }
    let mut stream = opened(server, place).await?;
    stream.write_all(&header(0x81, 1 << 62)).await?;
    until_closed(&mut stream).await
}

/// Sends messages that are not of the protocol.
pub(super) async fn malformed(server: Endpoint, place: usize) -> Result<()> {
    for text in ["[", "{}", "[null,null,1,2,3]", "\u{0}", "[[[[[[[[[["] {
        let mut stream = opened(server, place).await?;
        let mut frame = Vec::new();
        websocket::append_text(&mut frame, text);
        stream.write_all(&frame).await?;
        until_closed(&mut stream).await?;
    }
    let mut stream = opened(server, place).await?;
    // The frame has a reserved opcode and no mask.
    stream.write_all(&[0xff, 0x01, 0x00]).await?;
    until_closed(&mut stream).await
}

/// Sends handshakes with an unknown version, an unknown path, and without a key.
pub(super) async fn refused(server: Endpoint) -> Result<()> {
    let host = server.address.to_string();
    for path in ["/socket/websocket?vsn=9.9.9", "/nowhere/websocket", "/socket/websocket/%ff"] {
        let mut stream = TcpStream::connect(server.address).await?;
        stream.write_all(websocket::upgrade_request(&host, path).as_bytes()).await?;
        let _ = timeout(Duration::from_millis(500), stream.read(&mut [0; 1024])).await;
    }
    Ok(())
}

/// Sends a request without an end, and one whose body does not come.
pub(super) async fn half_open(server: Endpoint) -> Result<()> {
    let mut head = TcpStream::connect(server.address).await?;
    head.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ").await?;
    let mut body = TcpStream::connect(server.address).await?;
    let request = "POST /pipelines/jobs/events HTTP/1.1\r\nHost: localhost\r\n\
                   Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n[";
    body.write_all(request.as_bytes()).await?;
    let _silent = TcpStream::connect(server.address).await?;
    sleep(HELD).await;
    Ok(())
}

async fn until_closed(stream: &mut TcpStream) -> Result<()> {
    let mut into = [0; 4096];
    while stream.read(&mut into).await? > 0 {}
    Ok(())
}
