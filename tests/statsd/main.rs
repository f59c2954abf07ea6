//! What a StatsD server gets. The app is `tests/apps/slow`, or that of the jobs.

mod alerts;
mod graphite;
mod lines;
mod names;
mod pipelines;
mod server;

use millrace_tests::{TestClient, TestServer};
use serde_json::json;

const TOPIC: &str = "slow:a";

async fn client(server: &TestServer) -> TestClient {
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client
}

/// Has the plugin measure so many times.
async fn measure(client: &mut TestClient, times: u32, name: &str) {
    for _ in 0..times {
        let order = json!({ "value": name, "user": "ada" });
        client.expect_answer(TOPIC, "measure", order, "ok", json!({})).await;
    }
}
