//! Components that other toolchains than Rust's make of a channel: `millrace check` and
//! `millrace serve` agree that they can run, an instance of theirs serves more than one
//! call, and what they print and throw is told.

mod javascript;
mod python;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use millrace_tests::{App, BUILD_PATIENCE, HttpRequest, TestServer, binary};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

const TOPIC: &str = "room:a";

/// The interface that components are built against.
fn wit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("wit/v0.1")
}

/// A place for what is built, by its name.
fn built(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchains");
    fs::create_dir_all(&folder).unwrap();
    folder.join(format!("{name}.wasm"))
}

/// `millrace check` says that it can run, and all of these.
async fn check(component: &Path, said: &[&str]) {
    let mut command = Command::new(binary());
    command.arg("check").arg(component).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(BUILD_PATIENCE, command.output()).await.unwrap().unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    for part in said.iter().chain(&["topics:\n  room:*", "this host can run it"]) {
        assert!(stdout.contains(part), "{part:?} is missing in {stdout}{stderr}");
    }
}

fn serve(component: &Path) -> TestServer {
    let app = App::written(&format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[plugins.room]\ncomponent = {component:?}\n"
    ));
    app.environment("RUST_LOG", "info,millrace::prints=debug").serve()
}

/// It answers, broadcasts, prints and fails as any plugin does, and its instance is kept.
async fn serves(component: &Path, printed: Option<&str>, thrown: &str) {
    let server = serve(component);
    let (mut ada, mut bob) = (server.client().await, server.client().await);
    ada.join(TOPIC).await;
    bob.join(TOPIC).await;
    let text = json!({ "text": "Grüße" });
    for _ in 0..3 {
        ada.expect_answer(TOPIC, "ping", text.clone(), "ok", text.clone()).await;
    }
    assert_eq!(instances(&server).await["live"], 1, "calls had an instance each");
    ada.push(TOPIC, "shout", text.clone()).await;
    bob.expect_broadcast(TOPIC, "shout", text.clone()).await;
    ada.expect_broadcast(TOPIC, "shout", text.clone()).await;
    let unknown = json!({ "reason": "unknown event what" });
    ada.expect_answer(TOPIC, "what", json!({}), "error", unknown).await;
    ada.expect_answer(TOPIC, "print", text.clone(), "ok", text.clone()).await;
    if let Some(printed) = printed {
        server.wait_for_log(printed, 1);
        let log = server.log();
        let line = log.lines().find(|line| line.contains(printed)).unwrap();
        assert!(line.contains("plugin=room") || line.contains("plugin=\"room\""), "{line}");
        assert!(line.contains("id=1-"), "{line}");
    }
    ada.push(TOPIC, "boom", json!({})).await;
    ada.expect_crashed(TOPIC).await;
    server.wait_for_log(thrown, 1);
    bob.expect_answer(TOPIC, "ping", text.clone(), "ok", text).await;
}

async fn instances(server: &TestServer) -> Value {
    let response = HttpRequest::new("GET", "/plugins/room").send(server.admin()).await;
    response.json()["instances"].clone()
}
