//! The `Presence` class of each phoenix.js.

use millrace_tests::{Script, TestServer};
use serde_json::json;

/// Versions of phoenix.js as `js/package.json` names them, the last of each series.
const VERSIONS: [&str; 5] = ["1.4", "1.5", "1.6", "1.7", "1.8"];

#[tokio::test]
async fn two_clients_see_each_other_come_change_and_go() {
    let server = TestServer::shared();
    let url = format!("ws://{}/socket", server.address());
    for version in VERSIONS {
        let topic = format!("room:presence-js-{version}");
        let mut script = Script::start("presence/js/presence.mjs", &[version, &url, &topic]);
        script.expect(json!({ "ada": { "ada": ["here"] } })).await;
        script.expect(json!({ "ada": { "ada": ["here"], "bob": ["here"] } })).await;
        script.expect(json!({ "bob": { "ada": ["here"], "bob": ["here"] } })).await;
        script.expect(json!({ "ada": { "ada": ["here"], "bob": ["away"] } })).await;
        script.expect(json!({ "ada": { "ada": ["here"], "bob": ["away", "tab"] } })).await;
        script.expect(json!({ "ada": { "ada": ["here"] } })).await;
        // Ada comes with the state and with the diff of her own coming; an update is both.
        let joined = ["ada", "ada", "bob", "bob", "bob", "bob"];
        let left = ["bob"; 4];
        script.expect(json!({ "joined": joined, "left": left })).await;
        script.expect_end().await;
    }
}
