//! `millrace top`.

use millrace_tests::{App, run};
use serde_json::{Value, json};

use super::user;

#[tokio::test]
async fn one_frame_has_what_there_is() {
    let server = App::slow().admin().serve();
    let mut ada = user(&server, "ada").await;
    ada.join("slow:a").await;
    ada.push("slow:a", "crash", json!({})).await;
    ada.expect_crashed("slow:a").await;
    let top = ["top", "--once", "--admin", server.admin()];
    let run = run(top).await;
    assert_eq!(run.code, Some(0), "{run:#?}");
    for part in [
        "ready",
        "1 connections",
        "messages/s",
        "handled p50",
        "PLUGIN",
        "slow ",
        "FAULT",
        "trap",
        "the handler was told to crash",
    ] {
        assert!(run.stdout.contains(part), "{part:?} is missing in {}", run.stdout);
    }
    assert!(!run.stdout.contains('\x1b'), "{run:?}");
}

#[tokio::test]
async fn scripts_get_the_snapshot_itself() {
    let server = App::slow().admin().serve();
    let run = run(["top", "--json", "--admin", server.admin()]).await;
    let snapshot: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(snapshot["plugins"][0]["plugin"], "slow", "{snapshot}");
    // Nobody calls it, and it has a version all the same.
    let version = snapshot["plugins"][0]["version"].as_str().unwrap();
    assert_eq!(version.len(), 8, "{snapshot}");
    assert_eq!(snapshot["unusual"], json!([]), "{snapshot}");
}

#[tokio::test]
async fn without_a_terminal_it_says_what_works() {
    let server = App::slow().admin().serve();
    let run = run(["top", "--admin", server.admin()]).await;
    run.assert_refused(&["a terminal", "--once"]);
}
