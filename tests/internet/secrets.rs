//! Secrets from the environment and from files, exchanged while the server runs.

use millrace_tests::{App, HttpRequest, eventually};
use serde_json::json;

use super::*;

async fn asks(server: &TestServer, token: &str) -> u16 {
    let request = HttpRequest::new("GET", "/plugins");
    request.header("Authorization", &format!("Bearer {token}")).send(server.admin()).await.status
}

#[tokio::test]
async fn a_token_in_a_file_is_exchanged_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let listen = "listen = \"127.0.0.1:0\"\n[server]\nreread_ms = 10\n";
    let server = configured(&format!("{listen}{ADMIN}token = {{ file = {path:?} }}\n"));
    assert_eq!((asks(&server, "old").await, asks(&server, "new").await), (200, 401));
    std::fs::write(&path, "new\n").unwrap();
    server.wait_for_log("admin.token was read anew", 1);
    assert_eq!((asks(&server, "old").await, asks(&server, "new").await), (401, 200));
    // What is not in order leaves it as it was.
    std::fs::remove_file(&path).unwrap();
    server.wait_for_log("which cannot be read", 1);
    assert_eq!(asks(&server, "new").await, 200);
}

#[tokio::test]
async fn a_plugin_finds_its_secrets_as_they_are_now() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, "old").unwrap();
    let plugin = App::slow_plugin();
    let app = App::written(&format!(
        "listen = \"127.0.0.1:0\"\n[server]\nreread_ms = 3600000\n[plugins.slow]\ncomponent = \
         {:?}\nconfig = {{ key = {{ file = {path:?} }}, other = {{ env = \"OTHER\" }}, plain = 5 }}\n",
        plugin.path()
    ));
    let server = app.environment("OTHER", "from outside").listen_as_configured().serve();
    let mut client = server.client().await;
    client.join("slow:1").await;
    let asked = |key: &str| json!({ "value": key });
    for (key, value) in
        [("key", json!("old")), ("other", json!("from outside")), ("plain", json!("5"))]
    {
        client.expect_answer("slow:1", "config", asked(key), "ok", json!({ "value": value })).await;
    }
    std::fs::write(&path, "new").unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_log("plugins.slow.config.key was read anew", 1);
    client.expect_answer("slow:1", "config", asked("key"), "ok", json!({ "value": "new" })).await;
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named() {
    let app = App::probe().with(&format!("{ADMIN}token = {{ env = \"MILLRACE_TEST_NONE\" }}\n"));
    let run = millrace_tests::run(["serve", app.path().to_str().unwrap()]).await;
    run.assert_refused(&["admin.token is { env = \"MILLRACE_TEST_NONE\" }, and there is no such"]);
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_secret_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let listen = "listen = \"127.0.0.1:0\"\n[server]\nreread_ms = 10\n";
    let server = configured(&format!("{listen}{ADMIN}token = {{ file = {path:?} }}\n"));
    std::fs::remove_file(&path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    server.signal(rustix::process::Signal::HUP);
    server.wait_for_log("SIGHUP: not every file is in order", 1);
    assert_eq!(asks(&server, "old").await, 200);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "new").unwrap();
    let is_new = async || (asks(&server, "new").await == 200).then_some(());
    eventually("the new token counts", is_new).await;
    assert!(server.terminate().success());
}
