//! What a StatsD server gets. The app is `tests/apps/slow`, or that of the jobs.

mod alerts;
mod graphite;
mod lines;
mod names;
mod pipelines;
mod server;

use millrace_tests::{App, TestClient, TestServer};
use serde_json::json;

const TOPIC: &str = "slow:a";

/// A server of the slow app that reports every few milliseconds.
fn server(statsd: &str) -> TestServer {
    TestServer::start(App::slow_with(&format!("[statsd]\ninterval_ms = 50\n{statsd}")))
}

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
