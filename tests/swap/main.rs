//! Another version of a plugin while clients stay connected.

mod canary;
mod load;
mod refused;
mod restart;
mod versions;

use std::path::Path;

use millrace_tests::{Run, TestClient, TestServer, run};
use serde_json::{Value, json};

/// `millrace WORDS… --admin ADDR`.
async fn millrace(server: &TestServer, words: &[&str]) -> Run {
    run(words.iter().copied().chain(["--admin", server.admin()])).await
}

/// `millrace swap probe FILE`, which has to work.
async fn swap(server: &TestServer, file: &Path) -> Run {
    let run = millrace(server, &["swap", "probe", file.to_str().unwrap()]).await;
    assert_eq!(run.code, Some(0), "{run:#?}");
    run
}

async fn version(client: &mut TestClient, topic: &str) -> String {
    let reference = client.push(topic, "version", json!({})).await;
    let message = client.socket.recv_json().await;
    assert_eq!(message[1], json!(reference), "{message}");
    message[4]["response"]["version"].as_str().unwrap_or_else(|| panic!("{message}")).to_owned()
}

async fn count(client: &mut TestClient, topic: &str, expected: u64) {
    let response = json!({ "count": expected });
    client.expect_answer(topic, "count", json!({}), "ok", response).await;
}

/// The outcomes of the plugin's exchanges, the newest first.
async fn outcomes(server: &TestServer) -> Vec<String> {
    let listed = millrace(server, &["history", "probe", "--json"]).await;
    let lines = listed.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|exchange| exchange["outcome"].as_str().unwrap().to_owned()).collect()
}
