//! Dispatchers are switched while events flow.

use std::collections::HashMap;

use millrace_tests::App;
use serde_json::{Value, json};

use super::{enqueued, job, switch, until};

const USERS: usize = 20;
const ROUNDS: usize = 25;
/// Of one user in one round.
const JOBS: usize = 8;

#[tokio::test]
async fn nothing_is_lost_or_doubled_and_keys_keep_their_order() {
    let server = App::jobs()
        .pipeline(
            "jobs",
            "http = {}\npartition_by = \"/user\"\nordered = true\n\
             worker = { plugin = \"jobs\", max_demand = 8, consumers = 2 }\n",
        )
        .serve();
    let mut client = server.client().await;
    for user in 0..USERS {
        client.join(&format!("user:u{user}")).await;
    }
    let heard = tokio::spawn(async move {
        let mut next: HashMap<String, u64> = HashMap::new();
        for _ in 0..USERS * ROUNDS * JOBS {
            let message = client.socket.recv_json().await;
            let (user, seq) = (message[4]["user"].as_str().unwrap(), &message[4]["seq"]);
            let next = next.entry(user.to_owned()).or_default();
            assert_eq!(seq, next, "of {user}");
            *next += 1;
        }
        client.expect_nothing().await;
        next
    });
    let names = ["fair", "isolate", "priority", "demand"];
    for (round, dispatcher) in (0..ROUNDS).zip(names.iter().cycle()) {
        let of_user = |user| (0..JOBS).map(move |at| round_job(user, round * JOBS + at));
        let jobs: Vec<_> = (0..USERS).flat_map(of_user).collect();
        enqueued(&server, "jobs", &jobs).await;
        let response = switch(&server, "jobs", dispatcher).await;
        assert_eq!(response.status, 200, "{response:?}");
        let view = response.json();
        assert!(view["dispatchers"][0].as_str().unwrap().starts_with(dispatcher), "{view}");
        assert_eq!(view["conserved"], true, "{view}");
    }
    let next = heard.await.unwrap();
    assert_eq!(next.len(), USERS);
    let all = USERS * ROUNDS * JOBS;
    let view = until(&server, "jobs", |totals| totals["done"] == all).await;
    assert_eq!(view["totals"]["accepted"], all, "{view}");
    assert!(!server.log().contains("the dispatcher was replaced"), "{}", server.log());
}

/// Some wait, some fail at first; most are done at once.
fn round_job(user: usize, seq: usize) -> Value {
    let mut job = job(&format!("u{user}"), seq);
    if seq.is_multiple_of(50) {
        job["flaky"] = json!(1);
    }
    if seq.is_multiple_of(7) {
        job["work_ms"] = json!(1);
    }
    job
}

#[tokio::test]
async fn a_switch_to_nowhere_is_refused_and_nothing_changes() {
    let server = App::jobs().pipeline("jobs", "http = {}\nworker.plugin = \"jobs\"\n").serve();
    for (dispatcher, problem) in [
        ("none", ".dispatcher is \"none\""),
        ("jobs", "does not export `dispatcher`"),
        ("broadcast", "broadcast can only be chosen in millrace.toml"),
    ] {
        let response = switch(&server, "jobs", dispatcher).await;
        assert_eq!(response.status, 400, "{response:?}");
        let told = response.json();
        assert!(told["detail"].as_str().unwrap().contains(problem), "{told}");
    }
    let view = until(&server, "jobs", |_| true).await;
    assert_eq!(view["dispatchers"], json!(["demand"]), "{view}");
}
