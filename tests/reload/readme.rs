//! The README's channel, with its whole `Cargo.toml`, as somebody begins with it.

use std::fs;
use std::path::Path;

use millrace_tests::App;
use serde_json::json;

/// The first block of a language in the README.
fn block(readme: &str, language: &str) -> String {
    let (_, from) = readme.split_once(&format!("```{language}\n")).expect("a block");
    from.split_once("```").expect("its end").0.to_owned()
}

#[tokio::test]
async fn the_readmes_channel_is_built_as_it_stands_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let app = App::written("[plugins.room]\npath = \".\"\n");
    let sdk = root.join("plugins/sdk");
    let manifest = block(&readme, "toml");
    assert!(manifest.contains("\"../millrace/plugins/sdk\""), "{manifest}");
    let manifest = manifest.replace("../millrace/plugins/sdk", sdk.to_str().unwrap());
    fs::write(app.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(app.path().join("src")).unwrap();
    fs::write(app.path().join("src/lib.rs"), block(&readme, "rust")).unwrap();
    fs::copy(root.join("Cargo.lock"), app.path().join("Cargo.lock")).unwrap();
    // Where the dependencies are built already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("edited/target");
    let server = app.environment("CARGO_TARGET_DIR", target.to_str().unwrap()).dev();
    let mut client = server.client().await;
    client.join("room:readme").await;
    let text = json!({ "text": "hello" });
    client.expect_answer("room:readme", "ping", text.clone(), "ok", text).await;
}
