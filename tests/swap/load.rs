//! Exchanges under load: nothing is lost, nothing answered twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millrace_tests::{App, HttpRequest, TestClient};
use serde_json::{Value, json};

use super::{millrace, swap};

const CLIENTS: usize = 20;
const EXCHANGES: usize = 20;
const TOPIC: &str = "room:load";

/// Pings until it is told to stop; how many were answered, each once and in order.
async fn ping(mut client: TestClient, stop: Arc<AtomicBool>) -> u64 {
    let mut pings = 0;
    while !stop.load(Ordering::Relaxed) {
        let payload = json!({ "n": pings });
        client.expect_answer(TOPIC, "ping", payload.clone(), "ok", payload).await;
        pings += 1;
    }
    client.expect_nothing().await;
    pings
}

#[tokio::test]
async fn no_message_is_lost_or_answered_twice_by_exchanges_in_a_row() {
    let server = App::probe().admin().with("[swap]\nmax_uploads_per_minute = 1000\n").serve();
    let stop = Arc::<AtomicBool>::default();
    let mut pinging = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = server.client().await;
        client.join(TOPIC).await;
        pinging.push(tokio::spawn(ping(client, Arc::clone(&stop))));
    }
    let versions = [App::probe_v2_plugin(), App::probe_plugin()];
    for number in 0..EXCHANGES {
        swap(&server, versions[number % 2].path()).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut pings = 0;
    for client in pinging {
        pings += client.await.unwrap();
    }
    println!("{pings} pings of {CLIENTS} clients answered once each across {EXCHANGES} exchanges");
    assert!(pings > (CLIENTS * EXCHANGES) as u64, "{pings}");
}

/// A dispatcher is exchanged while jobs flow: each is done once.
#[tokio::test]
async fn no_event_is_lost_or_doubled_when_its_dispatcher_is_exchanged() {
    const JOBS: usize = 3_000;
    const USERS: usize = 10;
    let server = App::jobs()
        .with(
            "[swap]\nmax_uploads_per_minute = 1000\n\
             [pipelines.jobs]\nhttp = {}\npartition_by = \"/user\"\ndispatcher = \"fair\"\n\
             ordered = true\nworker = { plugin = \"jobs\", max_demand = 20 }\n",
        )
        .serve();
    let mut client = server.client().await;
    for user in 0..USERS {
        client.join(&format!("user:{user}")).await;
    }
    let job = |seq: usize| json!({ "user": (seq % USERS).to_string(), "seq": seq, "work_ms": 5 });
    let lines: String = (0..JOBS).map(|seq| format!("{}\n", job(seq))).collect();
    let request = HttpRequest::new("POST", "/pipelines/jobs/events");
    let response = request.body("application/x-ndjson", &lines).send(server.address()).await;
    assert_eq!(response.status, 202, "{response:?}");
    let jobs = App::jobs_app();
    let fair = jobs.path().join(".millrace/fair.wasm");
    let swapping = async {
        for _ in 0..EXCHANGES {
            let words = ["swap", "fair", fair.to_str().unwrap()];
            let told = millrace(&server, &words).await;
            assert_eq!(told.code, Some(0), "{told:#?}");
        }
    };
    let hearing = async {
        let mut last: HashMap<String, i64> = HashMap::new();
        for _ in 0..JOBS {
            let message: Value = client.socket.recv_json().await;
            let done = &message[4];
            let (user, seq) = (done["user"].as_str().unwrap(), done["seq"].as_i64().unwrap());
            let before = last.insert(user.to_owned(), seq);
            assert_eq!(before.map_or(seq, |before| before + USERS as i64), seq, "in order, once");
        }
    };
    tokio::join!(swapping, hearing);
    let view = HttpRequest::new("GET", "/pipelines/jobs").send(server.admin()).await.json();
    assert_eq!(view["totals"]["done"], JOBS, "{view}");
    assert_eq!(view["conserved"], true, "{view}");
}
