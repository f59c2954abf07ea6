//! What it shows of pipelines.

use std::time::{Duration, Instant};

use millrace_tests::{
    App, HttpRequest, PATIENCE, Script, TestServer, assert_picture, chromium, screenshots,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Two pipelines, one of which has more to do than it can.
fn app() -> App {
    App::jobs().with(
        "[dashboard]\nenabled = true\n\
         [pipelines.jobs]\nhttp = {}\npartition_by = \"/user\"\ndispatcher = \"fair\"\n\
         worker = { plugin = \"jobs\", max_demand = 4 }\nbuffer = { size = 400 }\n\
         retry = { max_attempts = 2, backoff_ms = 1 }\n\
         [pipelines.idle]\nworker = { plugin = \"jobs\" }\n",
    )
}

/// Floods the pipeline in Ada's name, who hears of what is done for her, and hands
/// over some jobs of others, until it is aborted.
fn load(server: &TestServer) -> JoinHandle<()> {
    let address = server.address().to_owned();
    tokio::spawn(async move {
        let mut client = millrace_tests::TestClient::connect(&address).await;
        client.join("user:ada").await;
        let heard = tokio::spawn(async move {
            loop {
                client.socket.recv_json().await;
            }
        });
        let ada = |seq| json!({ "user": "ada", "seq": seq, "work_ms": 8 });
        let others = ["bob", "eve"].map(|user| json!({ "user": user, "seq": 0, "work_ms": 8 }));
        let hopeless = json!({ "user": "bob", "seq": 1, "flaky": 9 });
        while !heard.is_finished() {
            // Hers come last, and find no room.
            let jobs = [hopeless.clone()].into_iter().chain(others.clone()).chain((0..40).map(ada));
            let lines: String = jobs.map(|job| format!("{job}\n")).collect();
            let request = HttpRequest::new("POST", "/pipelines/jobs/events");
            request.body("application/x-ndjson", &lines).send(&address).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    })
}

/// What the page's data say of the pipelines, once all of it is there.
async fn rows(server: &TestServer) -> Value {
    let began = Instant::now();
    loop {
        let request = HttpRequest::new("GET", "/dashboard/data.json");
        let rows = request.send(server.address()).await.json()["now"]["pipelines"].take();
        let jobs = rows.as_array().and_then(|rows| rows.iter().find(|r| r["pipeline"] == "jobs"));
        let is_there = |row: &Value| {
            ["accepted", "done", "rejected", "failed", "retried"]
                .iter()
                .all(|rate| row[rate].as_f64() > Some(0.0))
                && ["wait_ms", "run_ms", "delivery_ms"]
                    .iter()
                    .all(|timing| row[timing]["p99"].as_f64() > Some(0.0))
        };
        if jobs.is_some_and(is_there) {
            return rows;
        }
        assert!(began.elapsed() < PATIENCE, "{rows}");
    }
}

#[tokio::test]
async fn the_data_have_a_row_for_each_pipeline() {
    let server = app().serve();
    let load = load(&server);
    let rows = rows(&server).await;
    load.abort();
    let [idle, jobs] = rows.as_array().unwrap().as_slice() else { panic!("{rows}") };
    assert_eq!((&idle["pipeline"], &idle["dispatcher"]), (&json!("idle"), &json!("demand")));
    assert_eq!((&idle["done"], &idle["top_keys"]), (&json!(0.0), &json!([])), "{idle}");
    assert!(jobs["dispatcher"].as_str().unwrap().starts_with("fair "), "{jobs}");
    let (user, share) = (&jobs["top_keys"][0][0], jobs["top_keys"][0][1].as_f64().unwrap());
    assert_eq!(user, "ada", "{jobs}");
    assert!((0.5..=1.0).contains(&share), "{jobs}");
    assert!(jobs["dead_letters"].as_f64() > Some(0.0), "{jobs}");
}

#[tokio::test]
async fn the_page_has_a_row_for_each_pipeline() {
    let Some(chromium) = chromium() else { return };
    let temporary = TempDir::new().unwrap();
    let screenshots = screenshots(temporary.path());
    let server = app().serve();
    let load = load(&server);
    let url = format!("http://{}/dashboard", server.address());
    let mut script = Script::start("browser/pipelines.mjs", &[&url, chromium, &screenshots]);
    script
        .expect(json!({
            "pipelines": ["idle", "jobs"],
            "dispatchers": ["demand", "fair"],
            "busiest": "ada",
            "moves": true,
            "scrollsSideways": false,
        }))
        .await;
    script.expect_end().await;
    load.abort();
    assert_picture(&screenshots, "dashboard-pipelines.png");
}
