//! What monitors and load balancers ask: `/health` and `/ready`.

use std::fs::{self, File};
use std::io::Write;
use std::process::Command;

use millrace_tests::{App, Gate, HttpRequest, HttpResponse, PATIENCE, TestServer, free_port};
use serde_json::json;
use tokio::time::timeout;

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
    let address = format!("127.0.0.1:{}", free_port());
    let app = app.listen(&address);
    let starting = tokio::task::spawn_blocking(move || app.serve());
    // It is open once the server reads it, which listens by then.
    let pipe = tokio::task::spawn_blocking(move || File::options().write(true).open(pipe));
    let mut pipe = timeout(PATIENCE, pipe).await.expect("the server loads").unwrap().unwrap();
    assert_not_ready(&get(&address, "/ready").await, "starting\n");
    assert_not_ready(&get(&address, "/").await, "starting\n");
    let upgrade = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0").send(&address).await;
    assert_not_ready(&upgrade, "starting\n");
    assert_eq!(get(&address, "/health").await.status, 200);
    tokio::task::spawn_blocking(move || pipe.write_all(&plugin)).await.unwrap().unwrap();
    let server = starting.await.unwrap();
    assert_eq!(get(&address, "/ready").await.status, 200);
    server.client().await.join("room:a").await;
}

#[tokio::test]
async fn a_server_that_stops_is_not_ready_and_serves_nobody_new() {
    let gate = Gate::closed();
    let server = App::gated_probe(&gate).serve();
    let mut client = server.client().await;
    client.join("room:a").await;
    let slow = client.push("room:a", "slow_ping", json!({ "ms": 1 })).await;
    client.expect_nothing().await;
    server.tell_to_stop();
    server.wait_for_log("stopping connections=1", 1);
    assert_not_ready(&get(server.address(), "/ready").await, "draining\n");
    let upgrade = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
    assert_not_ready(&upgrade.send(server.address()).await, "draining\n");
    assert_eq!(get(server.address(), "/health").await.status, 200);
    gate.open();
    client.expect_reply("room:a", &slow, "ok", json!({ "ms": 1 })).await;
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}
