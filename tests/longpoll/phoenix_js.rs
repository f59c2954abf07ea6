//! phoenix.js from 1.4 to 1.8, the reference client, over long-polling.
//!
//! What it does is in `js/scenario.mjs`; here is what it must see.

use millrace_tests::{App, Script, TestServer, free_port};
use serde_json::json;

/// The versions that `js/package.json` has.
const VERSIONS: [&str; 5] = ["1.4", "1.5", "1.6", "1.7", "1.8"];

fn play(scenario: &str, version: &str, server: &TestServer) -> Script {
    let url = format!("ws://{}/socket", server.address());
    Script::start("longpoll/js/scenario.mjs", &[scenario, version, &url])
}

#[tokio::test]
async fn clients_join_ask_and_hear_each_other() {
    let server = TestServer::shared();
    for version in VERSIONS {
        let mut script = play("together", version, &server);
        script.expect(json!({ "join": [{ "ok": {} }, { "ok": {} }] })).await;
        script.expect(json!({ "ping": { "ok": { "text": "Grüße, 世界 🌍" } } })).await;
        script.expect(json!({ "many": if version == "1.8" { 250 } else { 90 } })).await;
        script.expect(json!({ "shout": [{ "from": "alice" }, { "from": "alice" }] })).await;
        script.expect(json!({ "leave": { "ok": {} } })).await;
        script.expect_end().await;
    }
}

#[tokio::test]
async fn a_client_comes_back_when_the_server_was_restarted() {
    for version in VERSIONS {
        let address = format!("127.0.0.1:{}", free_port());
        let server = App::probe().listen(&address).serve();
        let mut script = play("restart", version, &server);
        script.expect(json!({ "joined": 1 })).await;
        assert_eq!(server.terminate().code(), Some(0));
        let server = App::probe().listen(&address).serve();
        script.expect(json!({ "joined": 2 })).await;
        script.expect(json!({ "ping": { "ok": { "still": "here" } } })).await;
        script.expect_end().await;
        drop(server);
    }
}

#[tokio::test]
async fn a_client_that_is_disconnected_comes_back() {
    for version in VERSIONS {
        let server = App::slow().admin().serve();
        let mut script = play("disconnected", version, &server);
        script.expect(json!({ "joined": 1 })).await;
        script.expect(json!({ "joined": 2 })).await;
        script.expect_end().await;
    }
}

#[tokio::test]
async fn a_client_that_falls_back_finds_a_server() {
    for version in ["1.7", "1.8"] {
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("ws://{address}/socket");
        // Nobody is there at first, so the WebSocket fails.
        let mut script = Script::start("longpoll/js/scenario.mjs", &["fallback", version, &url]);
        script.expect(json!({ "error": "first" })).await;
        let server = App::probe().listen(&address).serve();
        script.expect(json!({ "joined": 1, "transport": "LongPoll" })).await;
        assert_eq!(server.terminate().code(), Some(0));
        let server = App::probe().listen(&address).serve();
        script.expect(json!({ "joined": 2, "transport": "LongPoll" })).await;
        script.expect(json!({ "ping": { "ok": { "still": "here" } } })).await;
        script.expect_end().await;
        drop(server);
    }
}
