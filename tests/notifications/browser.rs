//! What the dispatcher means to a quiet user beside a noisy one.

use millrace_tests::{App, Script, assert_picture, chromium, screenshots};
use serde_json::json;
use tempfile::TempDir;

#[tokio::test]
async fn the_quiet_user_waits_with_demand_and_not_with_fair() {
    let Some(chromium) = chromium() else { return };
    let temporary = TempDir::new().unwrap();
    let screenshots = screenshots(temporary.path());
    let admin = ["--admin", "127.0.0.1:0"];
    let server = App::notifications().arguments(&admin).serve();
    let url = format!("http://{}/?admin={}", server.address(), server.admin());
    let mut script = Script::start("browser/notifications.mjs", &[&url, chromium, &screenshots]);
    for (dispatcher, bob) in [("fair", "soon"), ("demand", "late"), ("fair", "soon")] {
        script.expect(json!({ "dispatcher": dispatcher, "bob": bob })).await;
    }
    script.expect_end().await;
    for name in ["notifications-demand.png", "notifications-fair.png"] {
        assert_picture(&screenshots, name);
    }
}
