//! Tokens over long-polling, in a header of the request that makes the session.

use millrace_tests::{HttpRequest, TestServer};
use serde_json::{Value, json};

use crate::{FAR, KEY, hs256, users, with_jwt};

async fn ask(server: &TestServer, path: &str, token: Option<&str>) -> Value {
    let mut request = HttpRequest::new("GET", path);
    if let Some(token) = token {
        request = request.header("X-Phoenix-AuthToken", token);
    }
    request.send(server.address()).await.json()
}

#[tokio::test]
async fn a_session_is_made_with_a_token_alone() {
    let server = with_jwt("").serve();
    let path = "/socket/longpoll?vsn=2.0.0&";
    for token in [None, Some("none")] {
        assert_eq!(ask(&server, path, token).await, json!({ "status": 403 }), "{token:?}");
    }
    assert!(users(&server).await.is_empty());
    let token = hs256(KEY, json!({ "sub": "ada", "exp": FAR }));
    let answer = ask(&server, path, Some(&token)).await;
    assert_eq!(answer["status"], 410, "{answer}");
    assert_eq!(users(&server).await, ["ada"]);
}
