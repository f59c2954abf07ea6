//! What is the operators' is out of the clients' reach, and stays within theirs.

mod dashboard;
mod health;
mod hosts;
mod stopping;
mod strangers;

use millrace_tests::PATIENCE;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// A connection from one of this machine's addresses.
async fn connect_from(ip: &str, to: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{ip}:0").parse().unwrap()).unwrap();
    socket.connect(to.parse().unwrap()).await.unwrap()
}

/// The status of an answer to `GET PATH`; `None` when there is none.
async fn status_from(ip: &str, to: &str, path: &str, header: &str) -> Option<u16> {
    let mut stream = BufReader::new(connect_from(ip, to).await);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut line = String::new();
    timeout(PATIENCE, stream.read_line(&mut line)).await.expect("an answer or an end").ok()?;
    line.split(' ').nth(1)?.parse().ok()
}
