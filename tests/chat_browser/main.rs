//! The chat of `examples/chat` as two people see it, each in a page of Chromium.
//!
//! What they do is in `browser/chat.mjs`; here is what they must see. Set
//! `MILLRACE_SCREENSHOT_DIR` to keep pictures of the pages.

use millrace_tests::{App, Script, assert_picture, chromium, free_port, screenshots};
use serde_json::json;
use tempfile::TempDir;

#[tokio::test]
async fn two_people_talk_and_the_server_is_replaced_meanwhile() {
    talk("").await;
}

#[tokio::test]
async fn they_talk_by_long_polling_too() {
    talk("?transport=longpoll").await;
}

async fn talk(query: &str) {
    let Some(chromium) = chromium() else { return };
    let temporary = TempDir::new().unwrap();
    let screenshots = screenshots(temporary.path());
    let address = format!("127.0.0.1:{}", free_port());
    let server = App::chat().listen(&address).serve();
    let url = format!("http://{}/{query}", server.address());
    let mut script = Script::start("browser/chat.mjs", &[&url, chromium, &screenshots]);

    script.expect(json!({ "connected": true })).await;
    let both = json!(["Ada", "Bob"]);
    script.expect(json!({ "ada": both, "bob": both })).await;
    script.expect(json!({ "typing": "Ada" })).await;
    let line = json!({ "author": "Ada", "body": "Is the wheel turning?" });
    script.expect(json!({ "bob": line, "ada": line })).await;
    // What people write is text, not HTML.
    let line = json!({ "author": "Bob", "body": "<b>It is</b> & it grinds 🌾" });
    script.expect(json!({ "bob": line, "ada": line })).await;
    script.expect(json!({ "screenshots": 2 })).await;

    server.kill();
    script.expect(json!({ "disconnected": true })).await;
    let server = App::chat().listen(&address).serve();
    let line = json!({ "author": "Ada", "body": "Still there?" });
    script.expect(json!({ "bob": line, "ada": line })).await;
    script.expect(json!({ "ada": both, "bob": both })).await;
    script.expect(json!({ "bob": ["Bob"] })).await;
    script.expect_end().await;
    drop(server);
    for name in ["chat-ada.png", "chat-bob.png"] {
        assert_picture(&screenshots, name);
    }
}
