//! A plugin that is built from its source, which an editor changes.

use std::fs;
use std::path::Path;

use millrace_tests::{App, TestClient};
use serde_json::json;

const TOPIC: &str = "room:edited";

/// Replaces the only occurrence of `old` in a file, as an editor would.
fn edit(file: &Path, old: &str, new: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.matches(old).count(), 1, "{old:?} in {text}");
    fs::write(file, text.replace(old, new)).unwrap();
}

async fn check(client: &mut TestClient, version: &str, count: u64) {
    let version = json!({ "version": version });
    client.expect_answer(TOPIC, "version", json!({}), "ok", version).await;
    client.expect_answer(TOPIC, "count", json!({}), "ok", json!({ "count": count })).await;
}

#[tokio::test]
async fn an_edit_is_live_once_it_is_built() {
    let app = App::probe_package(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("edited"));
    let app_folder = app.path().to_owned();
    let source = app_folder.join("src/lib.rs");
    let server = app.dev();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    check(&mut client, "1", 1).await;

    edit(&source, r#"VERSION: &str = "1";"#, r#"VERSION: &str = "7";"#);
    server.wait_for_log("reloaded", 1);
    // The channel goes on where it was.
    check(&mut client, "7", 2).await;

    // What does not build leaves the version before it, and a later edit repairs it.
    edit(&source, r#"VERSION: &str = "7";"#, "VERSION: &str = ;");
    server.wait_for_log("failed; its output is above", 1);
    check(&mut client, "7", 3).await;
    edit(&source, "VERSION: &str = ;", r#"VERSION: &str = "8";"#);
    server.wait_for_log("reloaded", 2);
    check(&mut client, "8", 4).await;

    // What it includes, and another package that it depends on, are watched as well.
    let (text, shared) = (app_folder.join("text.txt"), app_folder.join("shared"));
    fs::write(&text, "included").unwrap();
    edit(&source, r#"VERSION: &str = "8";"#, r#"VERSION: &str = include_str!("../text.txt");"#);
    server.wait_for_log("reloaded", 3);
    check(&mut client, "included", 5).await;
    fs::write(&text, "changed").unwrap();
    server.wait_for_log("reloaded", 4);
    check(&mut client, "changed", 6).await;

    fs::create_dir_all(shared.join("src")).unwrap();
    fs::write(shared.join("Cargo.toml"), "[package]\nname = \"shared\"\nversion = \"0.1.0\"")
        .unwrap();
    let version = |version: &str| format!("pub const VERSION: &str = \"{version}\";");
    fs::write(shared.join("src/lib.rs"), version("shared")).unwrap();
    edit(
        &app_folder.join("Cargo.toml"),
        "[dependencies]",
        "[dependencies]\nshared = { path = \"shared\" }",
    );
    edit(&source, r#"include_str!("../text.txt")"#, "shared::VERSION");
    server.wait_for_log("reloaded", 5);
    check(&mut client, "shared", 7).await;
    fs::write(shared.join("src/lib.rs"), version("another")).unwrap();
    server.wait_for_log("reloaded", 6);
    check(&mut client, "another", 8).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
}
