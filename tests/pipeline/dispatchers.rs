//! Policies of dispatch.

use millrace_tests::{App, Gate, run};
use serde_json::{Value, json};

use super::{enqueued, job, until};

fn app(gate: &Gate, dispatcher: &str, max_demand: u32) -> App {
    App::gated_jobs(gate).pipeline(
        "jobs",
        &format!(
            "http = {{}}\npartition_by = \"/user\"\ndispatcher = {dispatcher:?}\n\
             worker = {{ plugin = \"jobs\", max_demand = {max_demand} }}\n",
        ),
    )
}

/// Holds the one worker of this dispatcher up while others come, and hears in which order
/// those are done.
async fn order(dispatcher: &str, jobs: &[Value]) -> Vec<(String, u64)> {
    let gate = Gate::closed();
    let server = app(&gate, dispatcher, 1).serve();
    let mut client = server.client().await;
    for user in ["first", "ada", "bob"] {
        client.join(&format!("user:{user}")).await;
    }
    enqueued(&server, "jobs", &[json!({ "user": "first", "seq": 0, "work_ms": 1 })]).await;
    gate.until_waiting(1).await;
    enqueued(&server, "jobs", jobs).await;
    gate.open();
    let mut order = Vec::new();
    for _ in 0..=jobs.len() {
        let message = client.socket.recv_json().await;
        let (user, seq) = (message[4]["user"].as_str().unwrap(), message[4]["seq"].as_u64());
        order.push((user.to_owned(), seq.unwrap()));
    }
    assert_eq!(order.remove(0).0, "first");
    order
}

fn named(order: &[(&str, u64)]) -> Vec<(String, u64)> {
    order.iter().map(|(user, seq)| ((*user).to_owned(), *seq)).collect()
}

/// Ada floods, Bob comes behind.
fn flood() -> Vec<Value> {
    let mut jobs: Vec<_> = (0..4).map(|seq| job("ada", seq)).collect();
    jobs.extend((0..2).map(|seq| job("bob", seq)));
    jobs
}

#[tokio::test]
async fn who_comes_first_is_served_first() {
    let order = order("demand", &flood()).await;
    let expected = [("ada", 0), ("ada", 1), ("ada", 2), ("ada", 3), ("bob", 0), ("bob", 1)];
    assert_eq!(order, named(&expected));
}

#[tokio::test]
async fn fair_gives_each_user_a_turn() {
    let order = order("fair", &flood()).await;
    let expected = [("ada", 0), ("bob", 0), ("ada", 1), ("bob", 1), ("ada", 2), ("ada", 3)];
    assert_eq!(order, named(&expected));
}

/// A server with a dispatcher that confines, whose four workers Ada would take.
#[tokio::test]
async fn isolate_leaves_room_beside_who_takes_over() {
    let gate = Gate::closed();
    let server = app(&gate, "isolate", 4).serve();
    let slow = |user: &str, seq| json!({ "user": user, "seq": seq, "work_ms": 1 });
    let jobs: Vec<_> = (0..6).map(|seq| slow("ada", seq)).collect();
    enqueued(&server, "jobs", &jobs).await;
    // Two of four are hers, and the rest is free for Bob, who comes late.
    gate.until_waiting(2).await;
    until(&server, "jobs", |totals| totals["in_flight"] == 2).await;
    enqueued(&server, "jobs", &[slow("bob", 0), slow("bob", 1)]).await;
    let view = until(&server, "jobs", |totals| totals["in_flight"].as_u64() >= Some(3)).await;
    assert!(view["totals"]["buffered"].as_u64() >= Some(3), "{view}");
    gate.open();
    until(&server, "jobs", |totals| totals["done"] == 8).await;
}

#[tokio::test]
async fn a_dispatcher_that_is_none_is_refused_at_the_start() {
    let app =
        App::jobs().pipeline("jobs", "dispatcher = \"jobs\"\nworker = { plugin = \"jobs\" }\n");
    let serve = ["serve", app.path().to_str().unwrap(), "--listen", "127.0.0.1:0"];
    run(serve).await.assert_refused(&["pipelines.jobs", "does not export `dispatcher`"]);
}
