//! A plugin that is a file, which another file replaces.

use std::fs;
use std::path::Path;

use millrace_tests::{App, Gate};
use serde_json::json;

/// An app whose plugin is a file that a test can replace.
fn app_with(plugin: &App) -> App {
    let app = App::written("[plugins.room]\ncomponent = \"room.wasm\"");
    fs::copy(plugin.path(), app.path().join("room.wasm")).unwrap();
    app
}

/// Puts a file in its place in one step, as a build does.
fn replace(file: &Path, content: &[u8]) {
    let beside = file.with_extension("new");
    fs::write(&beside, content).unwrap();
    fs::rename(&beside, file).unwrap();
}

#[tokio::test]
async fn clients_stay_while_the_plugin_changes() {
    let (probe, ping) = (App::probe_plugin(), App::ping_plugin());
    let app = app_with(&probe);
    let plugin = app.path().join("room.wasm");
    let server = app.dev();
    let mut client = server.client().await;
    client.join("room:reload").await;
    let echo = json!({ "n": 1 });
    client.expect_answer("room:reload", "ping", echo.clone(), "ok", echo.clone()).await;

    replace(&plugin, &fs::read(ping.path()).unwrap());
    server.wait_for_log("reloaded", 1);
    // The same channel of the same connection, with a new mind.
    client.expect_answer("room:reload", "ping", echo, "ok", json!({ "ping": "pong" })).await;
    let mut late = server.client().await;
    late.join("room:reload").await;
    late.expect_answer("room:reload", "ping", json!({}), "ok", json!({ "ping": "pong" })).await;
    drop((client, late));
    assert_eq!(server.terminate().code(), Some(0));
}

#[tokio::test]
async fn a_version_that_cannot_run_leaves_the_one_before_it() {
    let app = app_with(&App::probe_plugin());
    let plugin = app.path().join("room.wasm");
    let server = app.dev();
    let mut client = server.client().await;
    client.join("room:bad-reload").await;
    let bad = [b"" as &[u8], b"nothing good", b"\0asm\x0d\0\x01\0"];
    for (bad, times) in bad.into_iter().zip(1..) {
        replace(&plugin, bad);
        server.wait_for_log("the version before it goes on", times);
        client.expect_nothing_from("room:bad-reload").await;
    }
    let mut late = server.client().await;
    late.join("room:bad-reload").await;
    late.expect_nothing_from("room:bad-reload").await;
}

#[tokio::test]
async fn calls_that_run_end_in_the_version_they_began_in() {
    let gate = Gate::closed();
    let app = app_with(&App::gated_probe_plugin()).gate("room", &gate);
    let plugin = app.path().join("room.wasm");
    let server = app.dev();
    let mut client = server.client().await;
    client.join("room:slow-reload").await;
    let slow = json!({ "ms": 1 });
    let slow_ping = client.push("room:slow-reload", "slow_ping", slow.clone()).await;
    client.expect_nothing().await;
    replace(&plugin, &fs::read(App::ping_plugin().path()).unwrap());
    server.wait_for_log("reloaded", 1);
    let ping = client.push("room:slow-reload", "ping", json!({ "n": 1 })).await;
    client.expect_nothing().await;
    gate.open();
    client.expect_reply("room:slow-reload", &slow_ping, "ok", slow).await;
    client.expect_reply("room:slow-reload", &ping, "ok", json!({ "ping": "pong" })).await;
}

#[tokio::test]
async fn versions_share_the_room_for_instances() {
    let gate = Gate::closed();
    let one = "[limits]\nmax_instances = 1";
    let app = app_with(&App::gated_probe_plugin()).gate("room", &gate).with(one);
    let plugin = app.path().join("room.wasm");
    let server = app.dev();
    let (mut old, mut new) = (server.client().await, server.client().await);
    old.join("room:old").await;
    new.join("room:new").await;
    let slow = json!({ "ms": 1 });
    let slow_ping = old.push("room:old", "slow_ping", slow.clone()).await;
    old.expect_nothing().await;
    replace(&plugin, &fs::read(App::ping_plugin().path()).unwrap());
    server.wait_for_log("reloaded", 1);
    // Waits until the old version's only instance has gone.
    let ping = new.push("room:new", "ping", json!({})).await;
    new.expect_nothing().await;
    gate.open();
    old.expect_reply("room:old", &slow_ping, "ok", slow).await;
    new.expect_reply("room:new", &ping, "ok", json!({ "ping": "pong" })).await;
    old.expect_answer("room:old", "ping", json!({}), "ok", json!({ "ping": "pong" })).await;
}
