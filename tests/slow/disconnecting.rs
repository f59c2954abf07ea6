//! Closing the connections of a user.

use millrace_tests::{App, TestClient, TestServer, TestSocket};
use serde_json::json;

use crate::TOPIC;

async fn user(server: &TestServer, name: &str) -> TestClient {
    let path = format!("/socket/websocket?vsn=2.0.0&user={name}");
    let mut client = TestClient::over(TestSocket::connect(server.address(), &path).await);
    client.join(TOPIC).await;
    client
}

#[tokio::test]
async fn every_connection_of_a_user_is_closed_and_no_other() {
    let server = App::slow().serve();
    let (mut ann, mut also_ann) = (user(&server, "ann").await, user(&server, "ann").await);
    let (mut bob, mut nobody) = (user(&server, "bob").await, server.client().await);
    nobody.join(TOPIC).await;
    bob.expect_answer(TOPIC, "disconnect", json!({ "user": "ann" }), "ok", json!({})).await;
    for client in [&mut ann, &mut also_ann] {
        assert_eq!(client.socket.expect_close().await, (1001, "disconnected".to_owned()));
    }
    nobody.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    // Nobody of that name is left, and that is no fault.
    bob.expect_answer(TOPIC, "disconnect", json!({ "user": "ann" }), "ok", json!({})).await;
}

#[tokio::test]
async fn who_disconnects_himself_is_closed_too() {
    let server = App::slow().serve();
    let mut ann = user(&server, "ann").await;
    ann.push(TOPIC, "disconnect", json!({ "user": "ann" })).await;
    let (_, code, reason) = ann.socket.recv_until_close().await;
    assert_eq!((code, reason.as_str()), (1001, "disconnected"));
}
