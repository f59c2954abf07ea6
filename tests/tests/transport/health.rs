//! What monitors and load balancers ask: `/health` and `/ready`.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use millrace_tests::{App, HttpRequest, HttpResponse, TestServer};
use serde_json::json;
use tokio::net::TcpStream;

async fn get(address: &str, path: &str) -> HttpResponse {
    HttpRequest::new("GET", path).send(address).await
}

fn assert_not_ready(response: &HttpResponse, word: &str) {
    assert_eq!((response.status, response.body.as_str()), (503, word), "{response:?}");
    assert_eq!(response.header("retry-after"), Some("1"), "{response:?}");
}

#[tokio::test]
async fn a_server_that_serves_is_ready() {
    let server = TestServer::shared();
    let health = get(server.address(), "/health").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    let ready = get(server.address(), "/ready").await;
    assert_eq!((ready.status, ready.body.as_str()), (200, "ready\n"));
}

/// A plugin that comes through a pipe keeps the server loading for as long as
/// nobody writes it.
#[tokio::test]
async fn a_server_that_loads_its_plugins_is_not_ready() {
    let plugin = fs::read(App::probe_plugin().path()).unwrap();
    let app = App::written("[plugins.probe]\ncomponent = \"pipe\"");
    let pipe = app.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let listen = address.clone();
    let starting = tokio::task::spawn_blocking(move || app.listen(&listen).serve());
    while TcpStream::connect(&address).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_not_ready(&get(&address, "/ready").await, "starting\n");
    assert_not_ready(&get(&address, "/").await, "starting\n");
    let upgrade = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0").send(&address).await;
    assert_not_ready(&upgrade, "starting\n");
    assert_eq!(get(&address, "/health").await.status, 200);
    tokio::task::spawn_blocking(move || fs::write(pipe, plugin)).await.unwrap().unwrap();
    let server = starting.await.unwrap();
    assert_eq!(get(&address, "/ready").await.status, 200);
    server.client().await.join("room:a").await;
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_and_serves_nobody_new() {
    let server = App::probe().serve();
    let mut client = server.client().await;
    client.join("room:a").await;
    let slow = client.push("room:a", "slow_ping", json!({ "ms": 1_000 })).await;
    client.expect_nothing().await;
    server.tell_to_stop();
    server.wait_for_log("stopping connections=1", 1);
    assert_not_ready(&get(server.address(), "/ready").await, "draining\n");
    let upgrade = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
    assert_not_ready(&upgrade.send(server.address()).await, "draining\n");
    assert_eq!(get(server.address(), "/health").await.status, 200);
    client.expect_reply("room:a", &slow, "ok", json!({ "ms": 1_000 })).await;
    assert_eq!(server.wait().code(), Some(0));
}
