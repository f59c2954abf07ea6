//! A `millrace.toml` that is changed, and what else `millrace dev` waits for.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use millrace_tests::{App, BUILD_PATIENCE, TestClient, TestServer, binary};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// The probe with so many topics for each connection.
fn config(channels: usize, probe: &App) -> String {
    let plugin = probe.path();
    format!("[socket]\nmax_channels = {channels}\n[plugins.probe]\ncomponent = {plugin:?}\n")
}

/// How a join of two topics ends.
async fn second_join(server: &TestServer) -> String {
    let mut client = server.client().await;
    client.join("room:first").await;
    client.send_join("room:second", json!({})).await;
    client.socket.recv_json().await[4]["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_changed_configuration_is_served_where_clients_find_it() {
    let probe = App::probe_plugin();
    let app = App::written(&config(1, &probe));
    let toml = app.path().join("millrace.toml");
    let server = app.dev();
    assert_eq!(second_join(&server).await, "error");
    fs::write(&toml, config(2, &probe)).unwrap();
    server.wait_for_log("serving it as it is now", 1);
    assert_eq!(second_join(&server).await, "ok");

    // A broken one changes nothing, and neither does one that cannot be served.
    for (broken, times) in ["[socket", "", "[sokcet]"].into_iter().zip(1..) {
        fs::write(&toml, broken).unwrap();
        server.wait_for_log("not applied; it goes on as it was before", times);
        server.wait_for_log("clients come back", if times == 1 { 1 } else { 2 });
        assert_eq!(second_join(&server).await, "ok", "{broken:?}");
    }
    fs::write(&toml, config(1, &probe)).unwrap();
    server.wait_for_log("clients come back", 3);
    assert_eq!(second_join(&server).await, "error");
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn what_a_plugin_keeps_in_a_static_is_gone_at_the_second_click() {
    let app = App::hostile();
    let server = app.dev();
    let mut client = server.client().await;
    client.join("hostile:static").await;
    let kept = json!({ "text": "in a static" });
    client.push("hostile:static", "leave", kept).await;
    assert_eq!(client.socket.recv_json().await[4]["status"], "ok");
    let nothing = json!({ "found": "" });
    client.expect_answer("hostile:static", "find", json!({}), "ok", nothing).await;
}

#[tokio::test]
async fn an_error_of_a_handler_and_what_it_prints_are_shown() {
    let server = App::slow().dev();
    let mut client = server.client().await;
    client.join("slow:a").await;
    let reason = json!({ "reason": "nothing asked" });
    client.expect_answer("slow:a", "answer", json!({}), "error", reason).await;
    let order = json!({ "value": "printed" });
    client.expect_answer("slow:a", "print", order, "ok", json!({})).await;
    server.wait_for_log("and an error", 1);
    let log = server.log();
    let line = |words: &str| log.lines().find(|line| line.contains(words)).unwrap();
    assert!(line("answered with an error").contains("INFO"), "{log}");
    assert!(line("answered with an error").contains("nothing asked"), "{log}");
    assert!(line(" printed ").contains("id=1-3"), "{log}");
}

#[tokio::test]
async fn one_that_is_broken_at_the_start_is_waited_for() {
    let probe = App::probe_plugin();
    let app = App::written("[plugins.probe]\ncomponent = \"missing.wasm\"\nlimit = 1");
    let toml = app.path().join("millrace.toml");
    let mut child = Command::new(binary())
        .arg("dev")
        .arg(app.path())
        .args(["--listen", "127.0.0.1:0", "--poll-ms", "20"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the millrace program can be started");
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = BufReader::new(child.stdout.take().unwrap());
    wait_for(&mut log, "plugins.probe.limit is no key").await;
    wait_for(&mut log, "waiting for a change").await;
    fs::write(&toml, "[plugins.probe]\ncomponent = \"missing.wasm\"").unwrap();
    wait_for(&mut log, "failed to read").await;
    wait_for(&mut log, "waiting for a change").await;
    fs::copy(probe.path(), app.path().join("missing.wasm")).unwrap();
    let line = wait_for(&mut said, "Millrace is listening on http://").await;
    let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap();
    TestClient::connect(address).await.join("room:a").await;
}

async fn wait_for(lines: &mut BufReader<impl AsyncRead + Unpin>, words: &str) -> String {
    let found = async {
        let mut line = String::new();
        while lines.read_line(&mut line).await.unwrap() > 0 {
            if line.contains(words) {
                return line;
            }
            line.clear();
        }
        panic!("{words:?} is not said");
    };
    timeout(BUILD_PATIENCE, found).await.unwrap()
}

#[tokio::test]
async fn a_build_from_elsewhere_is_as_in_the_package() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("elsewhere");
    fs::create_dir_all(folder.join(".cargo")).unwrap();
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"elsewhere\"\nversion = \"0.1.0\"\n[lib]\n\
                    crate-type = [\"cdylib\"]\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join(".cargo/config.toml"), "[env]\nGREETING = \"of the package\"").unwrap();
    let source = "#[unsafe(no_mangle)] pub extern \"C\" fn f() -> *const u8 { \
                  env!(\"GREETING\").as_ptr() }";
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    let output = Command::new(binary()).arg("build").arg(&folder).output();
    let output = timeout(BUILD_PATIENCE, output).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let built = fs::read(folder.join(".millrace/elsewhere.wasm")).unwrap();
    let greeting = b"of the package";
    assert!(built.windows(greeting.len()).any(|bytes| bytes == greeting));
}
