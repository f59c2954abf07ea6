//! What it shows while there is something to see.

use std::time::Duration;

use millrace_tests::{App, Script, TestServer, assert_picture, chromium, screenshots};
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// Clients that send until they are dropped: half of them ping, the others run
/// into a panic again and again.
async fn load(server: &TestServer) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for number in 0..20 {
        let topic = format!("slow:{number}");
        let mut client = server.client().await;
        client.join(&topic).await;
        clients.spawn(async move {
            loop {
                client.expect_answer(&topic, "ping", json!({}), "ok", json!({})).await;
                if number == 0 {
                    client.push(&topic, "crash", json!({})).await;
                    client.expect_crashed(&topic).await;
                    client.join(&topic).await;
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    clients
}

#[tokio::test]
async fn it_shows_what_happens_in_light_and_dark() {
    let Some(chromium) = chromium() else { return };
    let temporary = TempDir::new().unwrap();
    let screenshots = screenshots(temporary.path());
    let server = App::slow().dashboard().serve();
    let _load = load(&server).await;
    let url = format!("http://{}/dashboard", server.address());
    let mut script = Script::start("browser/dashboard.mjs", &[&url, chromium, &screenshots]);
    let expected = json!({
        // The page has one, too, which is not one of those.
        "connections": "20",
        "charts": 6,
        "plugins": ["slow"],
        "topics": 10,
        "causes": ["trap"],
        "unusual": false,
        // Nothing that is written lies on something else.
        "overlaps": [],
        // As many channels as connections: two lines with the same values.
        "linesSeen": [true, true],
    });
    script.expect(expected).await;
    let marked = json!({
        "unusual": "delivery p99 is 6 times its usual: 61 ms, usually 10 ms · \
                    connections are a third of their usual: 400, usually 1200",
        "marks": [
            ["Connections", "▼ a third of their usual"],
            ["Delivered, p99", "▲ 6 times its usual"],
        ],
    });
    script.expect(marked).await;
    script.expect(json!({ "scrollsSideways": false, "overlaps": [] })).await;
    script.expect_end().await;
    for name in ["dashboard-light.png", "dashboard-dark.png", "dashboard-narrow.png"] {
        assert_picture(&screenshots, name);
    }
}
