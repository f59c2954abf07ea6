//! What becomes of the events of pipelines.

use millrace_tests::{App, HttpRequest, Script, TestServer};
use serde_json::{Value, json};

use crate::server::Flushed;

/// Pipelines of which each has its own trouble.
const PIPELINES: &str = "
[pipelines.jobs]
worker = { plugin = \"jobs\" }
http = {}
retry = { max_attempts = 2, backoff_ms = 1 }
[pipelines.reject]
worker = { plugin = \"jobs\", max_demand = 1 }
http = {}
buffer = { size = 3 }
[pipelines.first]
worker = { plugin = \"jobs\" }
http = {}
buffer = { size = 1, keep = \"first\" }
[pipelines.last]
worker = { plugin = \"jobs\" }
http = {}
buffer = { size = 1, keep = \"last\" }
[pipelines.slow]
worker = { plugin = \"jobs\" }
http = {}
partition_by = \"/user\"
ordered = true
deadline_ms = 1000
[pipelines.unfair]
worker = { plugin = \"jobs\" }
http = {}
dispatcher = \"unfair\"
";

/// Jobs of Ada.
const DONE: usize = 100;

fn app(port: u64) -> App {
    App::unfair("panics", 0).with(PIPELINES).statsd(&format!("127.0.0.1:{port}"))
}

/// Hands events to a pipeline in one request; its status.
async fn enqueue(server: &TestServer, pipeline: &str, events: &[Value]) -> u16 {
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let path = format!("/pipelines/{pipeline}/events");
    let request = HttpRequest::new("POST", &path).body("application/x-ndjson", &lines);
    request.send(server.address()).await.status
}

fn jobs(user: &str, count: usize, field: &str, value: &Value) -> Vec<Value> {
    let job = |seq| json!({ "user": user, "seq": seq, field: value });
    (0..count).map(job).collect()
}

/// Events for each of the pipelines.
async fn hand_over(server: &TestServer) {
    let all_taken = [
        ("jobs", jobs("ada", DONE, "work_ms", &json!(0))),
        ("jobs", jobs("nobody", 3, "flaky", &json!(1))),
        ("jobs", jobs("nobody", 2, "poison", &json!(true))),
        ("first", jobs("nobody", 4, "work_ms", &json!(0))),
        ("last", jobs("nobody", 4, "work_ms", &json!(0))),
        // The second is too old when the first is done.
        ("slow", jobs("nobody", 2, "work_ms", &json!(2_000))),
        ("unfair", jobs("nobody", 5, "work_ms", &json!(0))),
    ];
    for (pipeline, events) in all_taken {
        assert_eq!(enqueue(server, pipeline, &events).await, 202, "{pipeline}");
    }
    // One is worked on, one waits, and then there is no room for three.
    for (count, status) in [(1, 202), (1, 202), (3, 429)] {
        let events = jobs("nobody", count, "work_ms", &json!(1_000));
        assert_eq!(enqueue(server, "reject", &events).await, status);
    }
}

#[tokio::test]
async fn a_statsd_server_gets_exactly_what_became_of_events() {
    let mut statsd = Script::start("statsd/js/server.js", &[]);
    let port = statsd.next().await["port"].as_u64().unwrap();
    let server = app(port).serve();
    // Two of three clients get what is done for Ada.
    let mut clients = Vec::new();
    for user in ["ada", "ada", "bob"] {
        let mut client = server.client().await;
        client.join(&format!("user:{user}")).await;
        clients.push(client);
    }
    hand_over(&server).await;
    for client in &mut clients[..2] {
        for _ in 0..DONE {
            assert_eq!(client.socket.recv_json().await[3], "job_done");
        }
    }
    drop(clients);
    // What is in hand is handled before the last report.
    assert_eq!(server.terminate().code(), Some(0));
    let flushed = Flushed::of(&mut statsd, port).await;

    let done = DONE as f64;
    for (name, count) in [
        ("accepted.jobs", done + 5.0),
        ("done.jobs", done + 3.0),
        ("failed.jobs", 2.0),
        ("retried.jobs", 5.0),
        ("rejected.jobs", 0.0),
        ("accepted.reject", 2.0),
        ("rejected.reject", 3.0),
        ("done.reject", 2.0),
        ("accepted.first", 4.0),
        ("dropped.first.newest", 3.0),
        ("done.first", 1.0),
        ("accepted.last", 4.0),
        ("dropped.last.oldest", 3.0),
        ("done.last", 1.0),
        ("dropped.slow.expired", 1.0),
        ("done.slow", 1.0),
        ("done.unfair", 5.0),
        ("dispatcher_replaced.unfair", 1.0),
        ("dispatcher_replaced.jobs", 0.0),
    ] {
        assert_eq!(flushed.counter(&format!("pipeline.{name}")), count, "{name}: {flushed:?}");
    }
    let attempts = done + 3.0 * 2.0 + 2.0 * 2.0;
    for (name, count) in [
        ("wait.jobs", attempts),
        ("run.jobs", attempts),
        // Once for each client that got a broadcast.
        ("delivery.jobs", 2.0 * done),
        ("delivery.unfair", 0.0),
        ("wait.slow", 1.0),
        ("run.slow", 1.0),
    ] {
        assert_eq!(flushed.times(&format!("pipeline.{name}")), count, "{name}: {flushed:?}");
    }
    for (name, level) in [
        ("buffered.jobs", 0.0),
        ("in_flight.jobs", 0.0),
        ("delayed.jobs", 0.0),
        ("bytes.jobs", 0.0),
        ("keys.slow", 0.0),
        ("dead_letters.jobs", 2.0),
    ] {
        assert_eq!(flushed.gauges[&format!("millrace.pipeline.{name}")], level, "{name}");
    }
    assert!(flushed.mean("pipeline.run.slow") >= 2_000.0, "{flushed:?}");
}
