//! phoenix.js, the reference client, under Node.js.
//!
//! What it does is in `clients/js/scenario.mjs`; here is what it must see.

use millrace_tests::{App, Script, TestServer, free_port, run};
use serde_json::json;

fn play(scenario: &str, server: &TestServer) -> Script {
    let url = format!("ws://{}/socket", server.address());
    Script::start("clients/js/scenario.mjs", &[scenario, &url])
}

#[tokio::test]
async fn one_client_joins_asks_hears_and_leaves() {
    let server = TestServer::shared();
    let mut script = play("alone", &server);
    script.expect(json!({ "join": { "ok": {} } })).await;
    script.expect(json!({ "ping": { "ok": { "text": "Grüße, 世界 🌍" } } })).await;
    script.expect(json!({ "fail": { "error": { "why": "told to" } } })).await;
    let unknown = json!({ "reason": "unknown event \"xyz\"" });
    script.expect(json!({ "unknown": { "error": unknown } })).await;
    script.expect(json!({ "pushed": { "n": 1 } })).await;
    script.expect(json!({ "leave": { "ok": {} }, "closed": true })).await;
    script.expect_end().await;
}

#[tokio::test]
async fn a_refused_join_says_why() {
    let server = TestServer::shared();
    let mut script = play("refused", &server);
    for reason in ["denied", "join crashed", "unmatched topic"] {
        script.expect(json!({ "error": { "reason": reason } })).await;
    }
    script.expect_end().await;
}

#[tokio::test]
async fn two_clients_hear_each_other() {
    let server = TestServer::shared();
    let mut script = play("together", &server);
    let heard = json!({ "from": "alice" });
    script.expect(json!({ "shout": [heard, heard] })).await;
    script.expect(json!({ "others": heard })).await;
    script.expect(json!({ "aliceHeard": 0 })).await;
    script.expect_end().await;
}

#[tokio::test]
async fn payloads_may_be_bytes() {
    let server = TestServer::shared();
    let mut script = play("binary", &server);
    for seen in ["ping", "pushed", "shout"] {
        script.expect(json!({ seen: [0, 1, 127, 128, 255] })).await;
    }
    script.expect_end().await;
}

#[tokio::test]
async fn a_token_travels_in_the_subprotocol() {
    let server = TestServer::shared();
    let mut script = play("token", &server);
    script.expect(json!({ "join": { "ok": {} } })).await;
    script.expect_end().await;
}

#[tokio::test]
async fn a_client_comes_back_when_the_server_was_killed() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = App::probe().listen(&address).serve();
    let mut script = play("restart", &server);
    script.expect(json!({ "joined": 1 })).await;
    server.kill();
    // No close frame: the connection broke.
    script.expect(json!({ "closed": 1006 })).await;
    check_return(script, &address).await;
}

#[tokio::test]
async fn a_client_comes_back_when_the_server_was_stopped() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = App::probe().listen(&address).serve();
    let mut script = play("restart", &server);
    script.expect(json!({ "joined": 1 })).await;
    assert_eq!(server.terminate().code(), Some(0));
    // With 1000 phoenix.js would stay away for good.
    script.expect(json!({ "closed": 1012 })).await;
    check_return(script, &address).await;
}

/// Starts a server where the last one was; the client joins by itself.
async fn check_return(mut script: Script, address: &str) {
    let server = App::probe().listen(address).serve();
    script.expect(json!({ "joined": 2 })).await;
    script.expect(json!({ "ping": { "ok": { "still": "here" } } })).await;
    script.expect_end().await;
    drop(server);
}

#[tokio::test]
async fn a_client_joins_again_when_its_channel_crashed() {
    let server = TestServer::shared();
    let mut script = play("crash", &server);
    script.expect(json!({ "joined": 1 })).await;
    script.expect(json!({ "error": { "reason": "channel_crash" } })).await;
    script.expect(json!({ "joined": 2 })).await;
    // A new channel, with new assigns.
    script.expect(json!({ "count": { "ok": { "count": 1 } } })).await;
    script.expect_end().await;
}

#[tokio::test]
async fn a_client_whose_token_ends_comes_back_with_the_next_one() {
    let key = "millrace-test-key-0123456789abcdef";
    let app = App::probe().with(&format!(
        "[auth.jwt]\nleeway_s = 0\n[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = {key:?}"
    ));
    let path = app.path().to_str().unwrap().to_owned();
    let make = async |lasts: &str| {
        let made = run(["token", "make", &path, "--user", "ada", "--expires-in", lasts]).await;
        made.stdout.trim_end().to_owned()
    };
    let lasting = make("1h").await;
    let server = app.serve();
    let url = format!("ws://{}/socket", server.address());
    let ending = make("4s").await;
    let arguments = ["expiring", &url, &ending, &lasting];
    let mut script = Script::start("clients/js/scenario.mjs", &arguments);
    script.expect(json!({ "joined": 1 })).await;
    script.expect(json!({ "closed": 4001 })).await;
    script.expect(json!({ "joined": 2 })).await;
    script.expect_end().await;
}
