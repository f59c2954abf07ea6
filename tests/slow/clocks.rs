//! What time it is for a plugin.

use millrace_tests::{App, TestClient};
use serde_json::{Value, json};

use super::TOPIC;

async fn clocks(client: &mut TestClient, before: &str) -> Value {
    let reference = client.push(TOPIC, "clocks", json!({ "value": before })).await;
    let frame = client.socket.recv_json().await;
    assert_eq!((&frame[1], &frame[4]["status"]), (&json!(reference), &json!("ok")), "{frame}");
    frame[4]["response"].clone()
}

#[tokio::test]
async fn a_reading_that_one_instance_has_kept_is_in_the_past_of_another() {
    const WAITED_MS: u64 = 300;
    let server = App::slow().with("[limits]\nfresh_instances = true\n").serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let first = clocks(&mut client, "").await;
    client.expect_answer(TOPIC, "wait", json!({ "ms": WAITED_MS }), "ok", json!({})).await;
    let second = clocks(&mut client, first["ns"].as_str().unwrap()).await;
    assert!(second["between_ms"].as_u64().unwrap() >= WAITED_MS, "{second}");
    assert_eq!(second["std"], true, "{second}");
}
