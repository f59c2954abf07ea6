//! Who may come in.

use millrace_tests::{App, HttpRequest, HttpResponse, TestServer, eventually};
use serde_json::json;

async fn upgrade(server: &TestServer) -> HttpResponse {
    HttpRequest::upgrade("/socket/websocket").send(server.address()).await
}

async fn until_there_is_room(server: &TestServer) {
    let is_in = async || (upgrade(server).await.status != 503).then_some(());
    eventually("there is room", is_in).await;
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let server = App::probe().with("[socket]\nmax_connections_per_address = 2").serve();
    let (mut first, second) = (server.client().await, server.client().await);
    let third = upgrade(&server).await;
    assert_eq!((third.status, third.header("retry-after")), (503, Some("5")));
    first.expect_nothing().await;
    drop(second);
    // Its place is free as soon as the server has noticed.
    until_there_is_room(&server).await;
}

#[tokio::test]
async fn new_connections_are_bounded_in_a_second() {
    let server = App::probe().with("[socket]\nmax_connects_per_second = 2").serve();
    let mut first = server.client().await;
    // However slow this test runs, ten at once are more than two in a second.
    let all = futures_util::future::join_all((0..10).map(|_| upgrade(&server))).await;
    let refused: Vec<_> = all.iter().filter(|answer| answer.status == 503).collect();
    assert!(!refused.is_empty(), "{all:?}");
    for answer in refused {
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.body, "too many connects at once, come again\n");
    }
    first.expect_nothing().await;
    until_there_is_room(&server).await;
}

#[tokio::test]
async fn joins_are_bounded_in_a_second_and_told_when_to_come_again() {
    let server = App::probe().with("[socket]\nmax_joins_per_second = 2").serve();
    let mut client = server.client().await;
    for number in 0..10 {
        client.send_join(&format!("room:{number}"), json!({})).await;
    }
    let mut refused = 0;
    for _ in 0..10 {
        let answer = client.socket.recv_json().await;
        if answer[4]["status"] == "error" {
            let response = &answer[4]["response"];
            assert_eq!(response["reason"], "overloaded");
            let after = response["retry_after_ms"].as_u64().unwrap();
            assert!((1..=500).contains(&after), "{response}");
            refused += 1;
        }
    }
    assert!(refused > 0);
    // What is joined is not concerned, and joining is possible again.
    client.expect_nothing().await;
    let joins = async || {
        let join = client.send_join("room:again", json!({})).await;
        let answer = client.socket.recv_json().await;
        assert_eq!(answer[1], json!(join));
        (answer[4]["status"] == "ok").then_some(())
    };
    eventually("a join is taken again", joins).await;
}
