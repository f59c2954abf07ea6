//! The chat of `examples/chat` as two people see it, each in a page of Chromium.
//!
//! What they do is in `browser/chat.mjs`; here is what they must see. Set
//! `MILLRACE_SCREENSHOT_DIR` to keep pictures of the pages.

use std::path::Path;

use millrace_tests::{App, Script, TestServer};
use serde_json::json;
use tempfile::TempDir;

const CHROMIUM: &str = "/usr/bin/chromium";

#[tokio::test]
async fn two_people_talk_and_the_server_is_replaced_meanwhile() {
    if !Path::new(CHROMIUM).exists() {
        assert!(std::env::var_os("CI").is_none(), "{CHROMIUM} is missing, and CI must have it");
        eprintln!("NOT RUN: the chat in a browser needs {CHROMIUM}, which is missing");
        return;
    }
    let temporary = TempDir::new().unwrap();
    let screenshots = std::env::var("MILLRACE_SCREENSHOT_DIR")
        .unwrap_or_else(|_| temporary.path().display().to_string());
    let server = TestServer::start(App::chat());
    let url = format!("http://{}/", server.address());
    let mut script = Script::start("browser/chat.mjs", &[&url, CHROMIUM, &screenshots]);

    script.expect(json!({ "connected": true })).await;
    script.expect(json!({ "typing": "Ada" })).await;
    let line = json!({ "author": "Ada", "body": "Is the wheel turning?" });
    script.expect(json!({ "bob": line, "ada": line })).await;
    // What people write is text, not HTML.
    let line = json!({ "author": "Bob", "body": "<b>It is</b> & it grinds 🌾" });
    script.expect(json!({ "bob": line, "ada": line })).await;
    script.expect(json!({ "screenshots": 2 })).await;

    server.kill();
    script.expect(json!({ "disconnected": true })).await;
    let server = TestServer::start_at(App::chat(), server.address());
    let line = json!({ "author": "Ada", "body": "Still there?" });
    script.expect(json!({ "bob": line, "ada": line })).await;
    script.expect_end().await;
    drop(server);
    for name in ["chat-ada.png", "chat-bob.png"] {
        let picture = std::fs::read(Path::new(&screenshots).join(name)).expect("a screenshot");
        assert!(picture.starts_with(b"\x89PNG"), "{name} is no picture");
    }
}
