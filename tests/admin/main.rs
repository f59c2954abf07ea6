//! The admin interface: who may ask, what is answered, and the commands on top of
//! it.

mod access;
mod bounds;
mod commands;
mod openapi;
mod routes;
mod top;
mod unread;

use millrace_tests::{HttpRequest, HttpResponse, TestClient, TestServer, TestSocket};
use serde_json::{Value, json};

/// A client with a user id.
async fn user(server: &TestServer, name: &str) -> TestClient {
    let path = format!("/socket/websocket?vsn=2.0.0&user={name}");
    let mut client = TestClient::over(TestSocket::connect(server.address(), &path).await);
    // The server lists it once it serves it, which is after it has answered the request.
    let heartbeat = client.heartbeat().await;
    client.expect_heartbeat(&heartbeat).await;
    client
}

/// An operator asks.
async fn ask(server: &TestServer, method: &str, path: &str, body: Option<Value>) -> HttpResponse {
    let mut request = HttpRequest::new(method, path);
    if let Some(body) = body {
        request = request.body("application/json", &body.to_string());
    }
    request.send(server.admin()).await
}

/// An operator asks, and it is done.
async fn done(server: &TestServer, method: &str, path: &str, body: Option<Value>) -> Value {
    let response = ask(server, method, path, body).await;
    assert_eq!(response.status, 200, "{method} {path}: {response:?}");
    assert_eq!(response.header("content-type"), Some("application/json"));
    response.json()
}

/// It is a problem of this status that says all of these.
#[track_caller]
fn assert_problem(response: &HttpResponse, status: u16, parts: &[&str]) {
    assert_eq!(response.status, status, "{response:?}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response:?}");
    let problem = response.json();
    assert_eq!(problem["status"], json!(status));
    for part in parts {
        assert!(response.body.contains(part), "{part:?} is missing in {response:?}");
    }
}
