//! A WebSocket server that sends back what it gets, made of the parts that serve clients. The
//! Autobahn suite tests it (`tests/autobahn`).

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;

use super::link::{End, Link, Received};
use super::read_ahead::ReadAhead;
use super::websocket::WebSocket;
use crate::config::SocketConfig;

/// Echoes the messages of everybody who connects. Only the handshake is not the server's own code.
///
/// # Errors
///
/// The first error of accepting a connection; otherwise it never ends.
pub async fn echo(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    // A client of the suite sends nothing before it has the answer.
    let Ok(accepted) = accept_async(stream).await else { return };
    let stream = ReadAhead::new(accepted.into_inner().into(), &[]);
    let mut socket = WebSocket::new(stream, SocketConfig::default().max_frame_bytes).await;
    let end = poll_fn(|cx| poll_echo(&mut socket, cx)).await;
    socket.close(end).await;
}

/// Echoes what has come; ready when the connection ends.
fn poll_echo(socket: &mut WebSocket, cx: &mut Context<'_>) -> Poll<End> {
    loop {
        if let Err(end) = ready!(socket.poll_ready(cx)) {
            return Poll::Ready(end);
        }
        match socket.poll_receive(cx) {
            Poll::Ready(Received::Frame(frame)) => {
                if let Err(end) = socket.queue(frame) {
                    return Poll::Ready(end);
                }
            }
            Poll::Ready(Received::Control) => {}
            Poll::Ready(Received::Ended) => return Poll::Ready(End::Broken),
            Poll::Ready(Received::End(end)) => return Poll::Ready(end),
            Poll::Pending => break,
        }
    }
    match ready!(socket.poll_flush(cx)) {
        Ok(()) => Poll::Pending,
        Err(end) => Poll::Ready(end),
    }
}
