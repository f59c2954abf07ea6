//! `/health` and `/ready` of a server that has as many connections as it may have.

use millrace_tests::{App, HttpRequest};

use super::{connect_from, status_from};

#[tokio::test]
async fn a_full_server_is_healthy() {
    let server = App::probe().with("[socket]\nmax_connections = 2").serve();
    let (mut first, mut second) = (server.client().await, server.client().await);
    let get = async |path| HttpRequest::new("GET", path).send(server.address()).await;
    for (path, body) in [("/health", "ok\n"), ("/ready", "ready\n")] {
        let answer = get(path).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    for answer in [get("/").await, get("/socket/websocket?vsn=2.0.0").await] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        assert_eq!(answer.body, "too many connections\n");
    }
    first.expect_nothing().await;
    second.expect_nothing().await;
}

#[tokio::test]
async fn a_stranger_who_says_nothing_does_not_make_it_look_sick() {
    let server = App::probe().with("[socket]\nmax_connections = 1").serve();
    let mut bystander = server.client().await;
    // More than there are places for one address, on each of the server's threads.
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(connect_from("127.0.0.1", server.address()).await);
    }
    assert_eq!(status_from("127.0.0.2", server.address(), "/health", "").await, Some(200));
    bystander.expect_nothing().await;
}
