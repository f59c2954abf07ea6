//! Requests of plugins to other servers: which go out, and what plugins see of
//! what comes back. The app is `tests/apps/fetch`.

mod allowed;
mod bounds;
mod exchanges;
mod upstream;

use millrace_tests::{TestClient, TestServer};
use serde_json::{Value, json};

const TOPIC: &str = "fetch:a";

async fn client(server: &TestServer) -> TestClient {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client
}

/// Has the plugin send a request, and returns what it got: `Err` with the kind
/// of the error and its text.
async fn fetch(client: &mut TestClient, order: Value) -> Result<Value, (String, String)> {
    let reference = client.push(TOPIC, "fetch", order).await;
    let [_, answered, _, _, payload] =
        client.socket.recv_json().await.as_array().unwrap().clone().try_into().unwrap();
    assert_eq!(answered, json!(reference));
    let response = payload["response"].clone();
    let text = |key: &str| response[key].as_str().unwrap_or_default().to_owned();
    match payload["status"].as_str() {
        Some("ok") => Ok(response),
        _ => Err((text("kind"), text("text"))),
    }
}

/// The error's kind; its text has to contain these words.
async fn expect_error(client: &mut TestClient, order: Value, kind: &str, words: &str) {
    match fetch(client, order.clone()).await {
        Err((found, text)) => {
            assert_eq!(found, kind, "{order}: {text}");
            assert!(text.contains(words), "{order}: {text}");
        }
        Ok(response) => panic!("{order}: {response}"),
    }
}
