//! JavaScript, by QuickJS (componentize-qjs) and SpiderMonkey (ComponentizeJS).

use std::path::{Path, PathBuf};

use millrace_tests::{BUILD_PATIENCE, install_once};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use super::{TOPIC, built, check, serve, serves, wit};

async fn build(toolchain: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("toolchains/js");
    install_once(&folder);
    let output = built(toolchain);
    let mut command = Command::new("node");
    command.arg(folder.join("build.mjs")).args([toolchain.as_ref(), wit().as_os_str()]);
    let status = command.arg(&output).kill_on_drop(true).status();
    let status = timeout(BUILD_PATIENCE, status).await.unwrap().expect("node can be started");
    assert!(status.success(), "{toolchain} failed");
    output
}

#[tokio::test]
async fn quickjs_serves_a_channel() {
    let component = build("qjs").await;
    check(&component, &["wasi:cli/stdout"]).await;
    serves(&component, None, "boom").await;
}

#[tokio::test]
async fn quickjs_without_wasi_serves_a_channel() {
    let component = build("qjs-stub").await;
    check(&component, &[]).await;
    // Nothing it says reaches anybody.
    serves(&component, None, "unreachable").await;
}

#[tokio::test]
async fn spidermonkey_with_all_its_features_serves_a_channel() {
    let component = build("starling").await;
    check(&component, &["not offer (a call of them traps):\n  wasi:http/types@0.2"]).await;
    serves(&component, Some("printed by JavaScript"), "boom").await;
    let server = serve(&component);
    let mut client = server.client().await;
    client.join(TOPIC).await;
    client.push(TOPIC, "fetch", json!({})).await;
    client.expect_crashed(TOPIC).await;
    server.wait_for_log("which this server does not offer", 1);
    server.wait_for_log("requests are sent with `millrace:plugin/http`", 1);
}
