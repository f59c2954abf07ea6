//! The description of the admin interface, by those who know OpenAPI.

use std::collections::BTreeSet;

use millrace_tests::{App, HttpRequest, Script};
use serde_json::json;

use super::done;

/// What there is, for whoever adds to it to add it here.
const ROUTES: &[(&str, &str)] = &[
    ("GET", "/health"),
    ("GET", "/snapshot"),
    ("GET", "/plugins"),
    ("GET", "/plugins/{name}"),
    ("POST", "/plugins/{name}/swap"),
    ("POST", "/plugins/{name}/rollback"),
    ("POST", "/plugins/{name}/promote"),
    ("GET", "/plugins/{name}/history"),
    ("GET", "/pipelines"),
    ("GET", "/pipelines/{name}"),
    ("POST", "/pipelines/{name}/dispatcher"),
    ("GET", "/pipelines/{name}/dead-letters"),
    ("POST", "/pipelines/{name}/dead-letters/replay"),
    ("DELETE", "/pipelines/{name}/dead-letters"),
    ("GET", "/sockets"),
    ("GET", "/sockets/{id}"),
    ("DELETE", "/sockets/{id}"),
    ("POST", "/disconnect"),
    ("GET", "/openapi.json"),
];

#[tokio::test]
async fn what_is_served_is_described_and_the_other_way_round() {
    let server = App::jobs_app().serve();
    let description = done(&server, "GET", "/openapi.json", None).await;
    let mut described = BTreeSet::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            described.insert((method.to_ascii_uppercase(), path.clone()));
        }
    }
    let expected = ROUTES.iter().map(|(method, path)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(described, expected.collect());
    for (method, path) in &described {
        let path = path.replace("{name}", "jobs").replace("{id}", "1");
        // Without a body, what needs one refuses it, and is there.
        let response = HttpRequest::new(method, &path).send(server.admin()).await;
        assert_ne!(response.status, 405, "{method} {path}");
        assert!(!response.body.contains("there is nothing at"), "{method} {path}: {response:?}");
        // What is not described is not there.
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let known = ROUTES.iter().any(|(method, known)| {
                *method == other && known.replace("{name}", "jobs").replace("{id}", "1") == path
            });
            if !known {
                let response = HttpRequest::new(other, &path).send(server.admin()).await;
                assert_eq!(response.status, 405, "{other} {path}: {response:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_description_is_valid_and_answers_are_as_described() {
    let server = App::jobs()
        .pipeline(
            "jobs",
            "http = {}\nretry = { max_attempts = 1 }\nworker = { plugin = \"jobs\" }\n",
        )
        .serve();
    // So that lists have something in them.
    let mut client = server.client().await;
    client.join("user:ada").await;
    let event = "{\"user\":\"ada\",\"seq\":1,\"poison\":true}";
    let events = HttpRequest::new("POST", "/pipelines/jobs/events");
    let taken = events.body("application/x-ndjson", event).send(server.address()).await;
    assert_eq!(taken.status, 202, "{taken:?}");
    server.wait_for_log("an event was given up", 1);

    let url = format!("http://{}", server.admin());
    let jobs = App::jobs_app();
    let fair = jobs.path().join(".millrace/fair.wasm");
    let mut script = Script::start("openapi/check.mjs", &[&url, fair.to_str().unwrap()]);
    script.expect(json!({ "valid": true, "version": "3.1" })).await;
    // All but the description itself, and the canary that is not there.
    script.expect(json!({ "answers": ROUTES.len() - 2 })).await;
    script.expect_end().await;
}
