//! Events that were given up.

use millrace_tests::{App, HttpRequest, Run, TestServer, run};
use serde_json::{Value, json};

use super::{enqueued, job, until, until_letters};

/// Batches of eight, three attempts, and no wait before them.
fn app() -> App {
    App::jobs().pipeline(
        "jobs",
        "http = {}\nretry = { max_attempts = 3, backoff_ms = 1 }\n\
         worker = { plugin = \"jobs\", max_demand = 16, min_demand = 8, batch_size = 8 }\n\
         [pipelines.strict]\nhttp = {}\nretry = { max_attempts = 3, backoff_ms = 1 }\n\
         worker = { plugin = \"jobs\" }\n",
    )
}

async fn admin(server: &TestServer, method: &str, path: &str, body: Option<Value>) -> Value {
    let mut request = HttpRequest::new(method, &format!("/pipelines/jobs/{path}"));
    if let Some(body) = body {
        request = request.body("application/json", &body.to_string());
    }
    let response = request.send(server.admin()).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

#[tokio::test]
async fn the_poison_of_a_batch_is_found_and_the_rest_is_done() {
    let server = app().serve();
    let mut jobs: Vec<_> = (0..8).map(|seq| job("ada", seq)).collect();
    jobs[5]["poison"] = json!(true);
    enqueued(&server, "jobs", &jobs).await;
    let view = until(&server, "jobs", |totals| totals["failed"] == 1).await;
    assert_eq!(view["totals"]["done"], 7, "{view}");
    until_letters(&server, "jobs", 1).await;

    let listed = admin(&server, "GET", "dead-letters", None).await;
    let letter = &listed["dead_letters"][0];
    assert_eq!((&letter["number"], &letter["attempts"]), (&json!(1), &json!(3)), "{listed}");
    assert!(letter["reason"].as_str().unwrap().contains("job 5 of ada is poison"), "{listed}");
    assert_eq!(letter["payload"], jobs[5].to_string());

    // It fails once more, and is another letter then.
    let replay = Some(json!({ "numbers": [1] }));
    let told = admin(&server, "POST", "dead-letters/replay", replay).await;
    assert_eq!(told, json!({ "replayed": 1, "rejected": 0 }));
    until_letters(&server, "jobs", 1).await;
    let listed = admin(&server, "GET", "dead-letters", None).await;
    assert_eq!(listed["dead_letters"][0]["number"], 2, "{listed}");
    let told = admin(&server, "DELETE", "dead-letters", Some(json!({}))).await;
    assert_eq!(told, json!({ "purged": 1 }));
    let listed = admin(&server, "GET", "dead-letters", None).await;
    assert_eq!(listed["count"], 0);
}

/// The program, asking a server.
async fn ask(server: &TestServer, args: &[&str]) -> Run {
    run(args.iter().copied().chain(["--admin", server.admin(), "--json"])).await
}

#[tokio::test]
async fn an_operator_has_commands_for_them() {
    let server = app().serve();
    let poison = |seq| json!({ "user": "ada", "seq": seq, "poison": true });
    enqueued(&server, "strict", &[poison(1), poison(2), job("ada", 3)]).await;
    until_letters(&server, "strict", 2).await;
    let listed = ask(&server, &["dead-letters", "list", "strict"]).await;
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    let purged = ask(&server, &["dead-letters", "purge", "strict", "--numbers", "1"]).await;
    assert_eq!(purged.stdout, "{\"purged\":1}\n");
    let replayed = ask(&server, &["dead-letters", "replay", "strict"]).await;
    assert_eq!(replayed.stdout, "{\"rejected\":0,\"replayed\":1}\n");
    until(&server, "strict", |totals| totals["failed"] == 3).await;
    let shown = ask(&server, &["pipelines"]).await;
    assert!(shown.stdout.lines().any(|line| line.contains("\"pipeline\":\"strict\"")), "{shown:?}");
    let wrong = ask(&server, &["dead-letters", "list", "none"]).await;
    wrong.assert_refused(&["404", "there is no pipeline \"none\"; there are: jobs, strict"]);
}

#[tokio::test]
async fn operators_need_the_admin_interface() {
    let server = TestServer::shared();
    let response = HttpRequest::new("GET", "/pipelines").send(server.address()).await;
    assert_eq!(response.status, 404, "{response:?}");
    assert!(response.body.contains("operators ask the admin interface"), "{response:?}");
}

#[tokio::test]
async fn an_event_that_no_attempt_can_read_is_tried_once() {
    let server = app().serve();
    let events = [job("ada", 1), json!({ "usr": "ada" }), json!([1]), job("ada", 2)];
    enqueued(&server, "jobs", &events).await;
    let view = until(&server, "jobs", |totals| totals["done"] == 2).await;
    let view =
        if view["dead_letters"] == 2 { view } else { until_letters(&server, "jobs", 2).await };
    assert_eq!(view["totals"]["retried"], 0, "{view}");
    let listed = admin(&server, "GET", "dead-letters", None).await;
    for letter in listed["dead_letters"].as_array().unwrap() {
        assert_eq!(letter["attempts"], 1, "{letter}");
        assert!(letter["reason"].as_str().unwrap().starts_with("invalid event: "), "{letter}");
    }
}
