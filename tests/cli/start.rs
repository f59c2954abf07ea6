//! Apps that cannot be served, and why.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use millrace_tests::{App, Run, TestServer, run};
use tempfile::TempDir;

async fn serve(path: &Path) -> Run {
    run(["serve".as_ref(), path.as_os_str(), "--listen".as_ref(), "127.0.0.1:0".as_ref()]).await
}

#[tokio::test]
async fn what_is_not_there_is_named() {
    for command in ["serve", "dev", "build", "check"] {
        for path in ["no/such/folder", "no/such/plugin.wasm"] {
            let run = run([command, path]).await;
            run.assert_refused(&[path]);
            if command == "serve" {
                run.assert_refused(&["an app's folder, its millrace.toml or a .wasm file is"]);
            }
        }
    }
}

#[tokio::test]
async fn a_folder_that_is_no_app_is_told_what_one_has() {
    let folder = TempDir::new().unwrap();
    let told = format!("{} is no app; a millrace.toml, or", folder.path().display());
    serve(folder.path()).await.assert_refused(&[&told]);
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_named() {
    let app = App::written("[plugins.room]\ncomponent = \"room.wasm\"");
    serve(app.path()).await.assert_refused(&["room.wasm", "put the component there, or name"]);
    let app = App::written("[plugins.room]\npath = \"room\"");
    serve(app.path()).await.assert_refused(&["plugins.room.path is ", "/room, which is not there"]);
}

#[tokio::test]
async fn a_cache_that_cannot_be_used_is_told_with_what_to_set() {
    let server = App::probe().with("[cache]\ndir = \"millrace.toml\"").serve();
    server.wait_for_log("set cache.dir to a folder", 1);
}

#[tokio::test]
async fn a_file_that_is_no_component_is_refused() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("room.wasm");
    for (content, problem) in [
        (b"" as &[u8], "empty"),
        (b"\0", "WebAssembly"),
        (b"\0asm", "component"),
        (b"not WebAssembly at all, but long enough to look at", "WebAssembly"),
        // A core module.
        (b"\0asm\x01\0\0\0", "component"),
        // A version there has never been.
        (b"\0asm\x7f\0\x01\0", "component"),
        // It breaks off.
        (b"\0asm\x0d\0\x01\0\x01\xff", "component"),
    ] {
        fs::write(&file, content).unwrap();
        for command in ["serve", "check"] {
            let run = run([command.as_ref(), file.as_os_str()]).await;
            run.assert_refused(&["room.wasm", problem]);
        }
    }
}

#[tokio::test]
async fn a_component_of_another_world_is_told_what_it_lacks() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("empty.wasm");
    fs::write(&file, b"\0asm\x0d\0\x01\0").unwrap();
    serve(&file).await.assert_refused(&["empty.wasm", "millrace:plugin/channel"]);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let server = TestServer::shared();
    let app = App::probe();
    let listen = ["serve".as_ref(), app.path().as_os_str(), "--listen".as_ref()];
    let run = run(listen.into_iter().chain([OsStr::new(server.address())])).await;
    run.assert_refused(&[server.address()]);
    // The one that was there first goes on.
    server.client().await.expect_nothing().await;
}

#[tokio::test]
async fn a_single_plugin_can_be_served() {
    let server = App::probe_plugin().serve();
    server.client().await.join("room:single").await;
    assert!(server.log().contains("loading 1 plugin;"), "{}", server.log());
}

#[tokio::test]
async fn a_plugin_that_traps_at_its_start_is_refused_with_its_words() {
    let app = App::faulty();
    let refused = ["faulty", "told to trap at its start", "at faulty::at_start"];
    serve(app.path()).await.assert_refused(&refused);
}

#[tokio::test]
async fn a_page_that_is_not_there_is_named() {
    let app = App::probe().with("[static]\ndir = \"wbe\"");
    serve(app.path()).await.assert_refused(&["static.dir", "wbe", "is not there", "make it"]);
    fs::write(app.path().join("wbe"), "").unwrap();
    serve(app.path()).await.assert_refused(&["static.dir", "wbe", "is no folder"]);
}

#[tokio::test]
async fn two_plugins_for_one_topic_are_named() {
    let (probe, ping) = (App::probe_plugin(), App::ping_plugin());
    let (probe, ping) = (probe.path(), ping.path());
    let plugins = format!("[plugins.a]\ncomponent = {probe:?}\n[plugins.b]\ncomponent = {ping:?}");
    let app = App::written(&plugins);
    let words = ["\"a\"", "\"b\"", "\"room:*\"", "give one of them another"];
    serve(app.path()).await.assert_refused(&words);
}
