//! The topic of the operators' page: no client of the app and no plugin hears it or speaks
//! on it.

use std::path::Path;

use millrace_tests::{App, TestClient, TestServer, TestSocket};
use serde_json::{Value, json};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const TOPIC: &str = "millrace:dashboard";
const CONFIG: &str = "[dashboard]\nenabled = true\ntoken = \"secret\"\n";

/// A plugin that serves these topics, of seven letters at most, whoever comes.
fn plugin_on(pattern: &str) -> Vec<u8> {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit/v0.1");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).unwrap();
    let world = resolve.select_world(&[package], Some("channel-plugin")).unwrap();
    // Its list of topics is one string, at 32.
    let golden = include_str!("../../compatibility/golden.wat");
    let length = format!(r#""\20\00\00\00\{:02x}\00\00\00""#, pattern.len());
    let text = golden.replace(r#""\20\00\00\00\08\00\00\00""#, &length);
    let text = text.replace("golden:*ok", &format!("{pattern:8}ok"));
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().encode().unwrap()
}

/// An operator's page, which has joined.
async fn page(server: &TestServer) -> TestClient {
    let path = "/dashboard/socket/websocket?vsn=2.0.0&token=secret";
    let mut page = TestClient::over(TestSocket::connect(server.address(), path).await);
    page.send_join(TOPIC, json!({})).await;
    let reply = page.socket.recv_json().await;
    assert_eq!(reply[4]["status"], "ok", "{reply}");
    page
}

/// The next message of the page is a snapshot that the server has taken.
async fn expect_snapshot(page: &mut TestClient) {
    let message: Value = page.socket.recv_json().await;
    assert_eq!((&message[2], &message[3]), (&json!(TOPIC), &json!("snapshot")), "{message}");
    assert!(message[4]["sample"]["connections"].is_number(), "{message}");
}

#[tokio::test]
async fn a_plugin_that_serves_every_topic_does_not_serve_it() {
    let app = App::hostile().with(CONFIG).with("[plugins.star]\ncomponent = \"star.wasm\"\n");
    std::fs::write(app.path().join("star.wasm"), plugin_on("*")).unwrap();
    let server = app.serve();
    let mut client = server.client().await;
    for topic in [TOPIC, "millrace:", "millrace:other", "phoenix"] {
        let join = client.send_join(topic, json!({})).await;
        client.expect_unmatched(topic, &join).await;
    }
    client.join("millrace").await;
    let mut page = page(&server).await;
    expect_snapshot(&mut page).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_plugin_neither_hears_it_nor_speaks_on_it() {
    let server = App::hostile().with(CONFIG).serve();
    let mut client = server.client().await;
    client.join("hostile:a").await;
    let mut page = page(&server).await;
    let topic = json!({ "topic": TOPIC });
    client.expect_answer("hostile:a", "subscribe", topic, "ok", json!({})).await;
    let forged = json!({ "topic": TOPIC, "event": "snapshot", "value": { "connections": 7 } });
    for _ in 0..10 {
        client.expect_answer("hostile:a", "broadcast_to", forged.clone(), "ok", json!({})).await;
    }
    for _ in 0..2 {
        expect_snapshot(&mut page).await;
    }
    client.expect_nothing().await;
    server.wait_for_log("is reserved for operators", 1);
}

#[tokio::test]
async fn a_plugin_that_wants_to_serve_it_is_refused() {
    let app = App::written("[plugins.star]\ncomponent = \"star.wasm\"\n");
    // As long as there is room for in the list of topics.
    std::fs::write(app.path().join("star.wasm"), plugin_on("phoenix")).unwrap();
    let run = millrace_tests::run(["serve".as_ref(), app.path().as_os_str()]).await;
    run.assert_refused(&["phoenix", "reserved"]);
}
