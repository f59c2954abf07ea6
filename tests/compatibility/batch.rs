//! Plugins written by hand that take many messages in one call, as the interface says
//! and otherwise.

use millrace_tests::{App, TestClient, TestServer};
use serde_json::json;
use tempfile::TempDir;

use super::{component, tracks, world};

const TOPIC: &str = "golden:a";
const IMPORT: &str = r#"(import "millrace:plugin/batched@0.1.0" "replied"
    (func $replied (param i32 i32) (result i32)))
  (data (i32.const 512) "{\"together\":1}")"#;

/// A server with the plugin of `golden.wat` and this body of `batch.handle-in`, and a
/// client of it.
async fn start(body: &str) -> (TestServer, TestClient) {
    let folder = TempDir::new().unwrap();
    let [closed, _] = tracks();
    for entry in std::fs::read_dir(closed).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let both = "package millrace:plugin@0.1.0;\n\
                world both { include channel-plugin; include batch-plugin; }\n";
    std::fs::write(folder.path().join("both.wit"), both).unwrap();
    let handle = format!(
        r#"(module {IMPORT}
  (func (export "millrace:plugin/batch@0.1.0#handle-in") (param i32 i32 i32 i32)
    {body})"#
    );
    let module = include_str!("golden.wat").replace("(module", &handle);
    let (resolve, world) = world(folder.path(), "both");
    let wasm = component(wat::parse_str(module).unwrap(), &resolve, world);
    let app = App::written("[plugins.golden]\ncomponent = \"golden.wasm\"\n");
    std::fs::write(app.path().join("golden.wasm"), wasm).unwrap();
    let server = app.serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    (server, client)
}

#[tokio::test]
async fn messages_are_reported_one_by_one() {
    let report = "(loop (br_if 0 (call $replied (i32.const 512) (i32.const 14))))";
    let (_server, mut client) = start(report).await;
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(client.push(TOPIC, "ping", json!({})).await);
    }
    for reference in sent {
        client.expect_reply(TOPIC, &reference, "ok", json!({ "together": 1 })).await;
    }
}

#[tokio::test]
async fn returning_without_a_report_is_a_fault_of_the_message() {
    let (server, mut client) = start("").await;
    client.push(TOPIC, "ping", json!({})).await;
    client.expect_crashed(TOPIC).await;
    server.wait_for_log("returned before it reported a message", 1);
}

#[tokio::test]
async fn a_report_that_is_no_json_is_a_fault_of_the_message() {
    let (server, mut client) = start("(drop (call $replied (i32.const 512) (i32.const 13)))").await;
    client.push(TOPIC, "ping", json!({})).await;
    client.expect_crashed(TOPIC).await;
    server.wait_for_log("is not JSON", 1);
}

#[tokio::test]
async fn reporting_more_than_there_is_takes_nothing_from_the_messages() {
    let report = "(loop (drop (call $replied (i32.const 512) (i32.const 14))) (br 0))";
    let (server, mut client) = start(report).await;
    let together = json!({ "together": 1 });
    client.expect_answer(TOPIC, "ping", json!({}), "ok", together).await;
    server.wait_for_log("a call failed after its last message", 1);
    client.expect_nothing().await;
}
