//! What a plugin may do, and is told when it may not.

use millrace_tests::{App, run};
use serde_json::json;

use super::relay::{TOPIC, app, asks, client, enqueue};
use super::until;

const PIPELINES: &str = "[pipelines.mails]\nworker = { plugin = \"relay\" }\n";

fn grants(enqueue: &str, publish: &str) -> String {
    format!("[plugins.relay.grants]\nenqueue = {enqueue}\npublish = {publish}\n{PIPELINES}")
}

#[tokio::test]
async fn a_handler_is_told_what_it_may_not_enqueue() {
    let server = app(&grants(r#"["orders"]"#, r#"["*"]"#)).serve();
    let mut client = client(&server).await;
    asks(&mut client, json!({ "reply": {} }), "ok", json!({})).await;
    let reference = enqueue(&mut client, "mails", json!({ "reply": {} })).await;
    let reason = "the pipeline \"mails\" is not granted; granted are [\"orders\"] \
                  (plugins.relay.grants.enqueue)";
    client.expect_reply(TOPIC, &reference, "error", json!({ "reason": reason })).await;
    // It was an error, and no fault: the handler goes on.
    client.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
    assert_eq!(super::view(&server, "mails").await["totals"]["accepted"], 0);
}

#[tokio::test]
async fn a_worker_is_told_where_it_may_not_publish() {
    let server = app(&grants(r#"["*"]"#, r#"["relay:*"]"#)).serve();
    let mut client = client(&server).await;
    let told = json!({ "tell": TOPIC, "reply": {} });
    enqueue(&mut client, "orders", told.clone()).await;
    let (mut pushed, mut replied) = (false, false);
    while !(pushed && replied) {
        let message = client.socket.recv_json().await;
        match message[3].as_str() {
            Some("told") => pushed = message[4] == told,
            _ => replied = message[4]["status"] == "ok",
        }
    }
    let reason = "the topic \"admin:1\" is not granted; granted are [\"relay:*\"] \
                  (plugins.relay.grants.publish)";
    asks(&mut client, json!({ "tell": "admin:1" }), "error", json!({ "reason": reason })).await;
    let view = until(&server, "orders", |totals| totals["failed"] == 1).await;
    assert_eq!(view["totals"]["done"], 1, "{view}");
}

#[tokio::test]
async fn a_plugin_that_needs_what_is_not_granted_is_refused() {
    let orders = "[pipelines.orders]\nworker = { plugin = \"relay\" }\n";
    let app = App::relay().with(&format!("{orders}{}", grants(r#"["mails"]"#, "[]")));
    let path = app.path().as_os_str();
    let run = run(["serve".as_ref(), path, "--listen".as_ref(), "127.0.0.1:0".as_ref()]).await;
    let needs = "needs what it is not granted: the pipeline \"orders\" is not granted";
    run.assert_refused(&["relay", needs, "plugins.relay.grants.enqueue"]);
}
