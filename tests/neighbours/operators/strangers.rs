//! Who does not know the token takes no place of who does.

use millrace_tests::{App, HttpRequest, eventually};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{connect_from, status_from};

const WITH_TOKEN: &str = "Authorization: Bearer secret\r\n";

fn app(admin: &str) -> App {
    App::probe().admin().with(&format!("[admin]\ntoken = \"secret\"\n{admin}"))
}

#[tokio::test]
async fn strangers_keep_no_operator_out() {
    let server = app("").serve();
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect_from("127.0.0.1", server.admin()).await);
    }
    let health = status_from("127.0.0.2", server.admin(), "/health", WITH_TOKEN).await;
    assert_eq!(health, Some(200));
    let plugins = status_from("127.0.0.2", server.admin(), "/plugins", WITH_TOKEN).await;
    assert_eq!(plugins, Some(200));
}

#[tokio::test]
async fn an_operators_connection_is_one_of_those_there_may_be() {
    let server = app("max_connections = 1").serve();
    let mut first = TcpStream::connect(server.admin()).await.unwrap();
    let request = format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{WITH_TOKEN}\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let ask = |token: &'static str| status_from("127.0.0.1", server.admin(), "/plugins", token);
    assert_eq!(ask(WITH_TOKEN).await, Some(503));
    assert_eq!(ask("").await, Some(401), "a stranger has a place of another kind");
    drop(first);
    let is_in = async || ask(WITH_TOKEN).await.filter(|status| *status == 200);
    eventually("the operator has a place again", is_in).await;
}

#[tokio::test]
async fn whoever_tries_tokens_is_told_of_and_loses_the_connection() {
    let server = app("").serve();
    for _ in 0..50 {
        let request = HttpRequest::new("GET", "/plugins").header("Authorization", "Bearer guess");
        let refused = request.send(server.admin()).await;
        assert_eq!((refused.status, refused.header("connection")), (401, Some("close")));
    }
    server.wait_for_log("somebody asked without the token, or with another peer=127.0.0.1", 1);
    assert!(server.log().matches("somebody asked").count() < 25, "{}", server.log());
}
