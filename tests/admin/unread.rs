//! Answers that are given before what was sent was read: they arrive.

use millrace_tests::{App, HttpRequest, run};
use tempfile::NamedTempFile;

use super::assert_problem;

/// How often each is asked for: a reset is a race that mostly is lost.
const TIMES: usize = 8;

#[tokio::test]
async fn a_wrong_token_is_told_to_who_sends_a_large_component() {
    let server = App::slow().admin().with("[admin]\ntoken = \"secret\"").serve();
    let component = NamedTempFile::new().unwrap();
    std::fs::write(component.path(), vec![b' '; 20_000_000]).unwrap();
    let path = component.path().to_str().unwrap();
    for _ in 0..TIMES {
        let swap = ["swap", "slow", path, "--admin", server.admin(), "--token", "wrong"];
        run(swap).await.assert_refused(&["401", "the token is wrong"]);
    }
}

#[tokio::test]
async fn so_is_everything_else_that_is_known_before() {
    let server = App::slow().admin().serve();
    let post = |path| HttpRequest::new("POST", path).body("text/plain", &" ".repeat(20_000_000));
    let large = |path, content_type| post(path).header("Content-Type", content_type);
    for (request, status) in [
        (post("/nothing"), 404),
        (post("/plugins"), 405),
        (post("/disconnect"), 415),
        (large("/disconnect", "application/json"), 413),
        (large("/disconnect?x=1", "application/json"), 400),
        (post("/disconnect").header("Host", "example.com"), 403),
        (post("/disconnect").header("Origin", "https://example.com"), 403),
    ] {
        for _ in 0..TIMES {
            let response = request.send(server.admin()).await;
            assert_problem(&response, status, &[]);
            assert_eq!(response.header("connection"), Some("close"), "{response:?}");
        }
    }
}
