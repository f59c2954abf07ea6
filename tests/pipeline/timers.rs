//! Events that come by themselves.

use millrace_tests::{App, HttpRequest};
use serde_json::{Value, json};

use super::until_view;

#[tokio::test]
async fn a_timer_hands_over_what_is_written_as_json() {
    for (payload, expected) in [
        (
            "payload = { since = 2026-01-01, at = [2026-01-01T07:32:00Z, 07:32:00], n = 1.5 }",
            json!({ "since": "2026-01-01", "at": ["2026-01-01T07:32:00Z", "07:32:00"], "n": 1.5 }),
        ),
        ("", json!({})),
    ] {
        // Its worker reads none of these events, so that they are dead letters.
        let server = App::jobs()
            .pipeline(
                "jobs",
                &format!(
                    "worker = {{ plugin = \"jobs\" }}\n\
                     [pipelines.jobs.timer]\nevery_ms = 10\nkey = \"k\"\n{payload}\n"
                ),
            )
            .serve();
        until_view(&server, "jobs", |view| view["dead_letters"].as_u64() > Some(0)).await;
        let letters = HttpRequest::new("GET", "/pipelines/jobs/dead-letters");
        let letters = letters.send(server.admin()).await.json();
        let letter = &letters["dead_letters"][0];
        let found: Value = serde_json::from_str(letter["payload"].as_str().unwrap()).unwrap();
        assert_eq!((found, &letter["key"]), (expected, &json!("k")));
    }
}
