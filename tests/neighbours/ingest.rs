//! Requests over HTTP end, and a large one takes its turns.

use std::fs::File;
use std::time::{Duration, Instant};

use millrace_tests::{App, HttpRequest, TestClient, TestServer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::longest_ping;

const TOPIC: &str = "room:ingest";
/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A pipeline that is fed over HTTP, beside the probe with its clients.
fn app(config: &str, http: &str) -> App {
    let worker = "worker = { plugin = \"jobs\", max_demand = 4 }";
    let app = App::jobs()
        .plugin("probe", "tests/apps/probe")
        .with("[static]\ndir = \"web\"")
        .with(config)
        .pipeline("jobs", &format!("{worker}\n{http}"));
    std::fs::create_dir(app.path().join("web")).unwrap();
    let large = File::create(app.path().join("web/large.bin")).unwrap();
    large.set_len(256 * 1024 * 1024).unwrap();
    app
}

async fn bystander(server: &TestServer) -> TestClient {
    let mut bystander = server.client().await;
    bystander.join(TOPIC).await;
    bystander
}

/// Reads until the server closes.
async fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it is closed");
    answer
}

/// Waits until somebody can come in.
async fn served(server: &TestServer) {
    let get = HttpRequest::new("GET", "/nothing");
    let served = async {
        while get.send(server.address()).await.status != 404 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, served).await.expect("there is a place again");
}

#[tokio::test]
async fn bodies_that_stop_one_byte_short_keep_no_place() {
    let server = app("[socket]\nmax_connections = 101", "http = { timeout_ms = 1000 }").serve();
    let mut bystander = bystander(&server).await;
    let mut attackers = JoinSet::new();
    for _ in 0..100 {
        let address = server.address().to_owned();
        attackers.spawn(async move {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            let body = vec![b' '; 1024 * 1024];
            let head = format!(
                "POST /pipelines/jobs/events HTTP/1.1\r\nhost: {address}\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            // An error if the server was faster.
            let _ = stream.write_all(&body[1..]).await;
            answer(stream).await
        });
    }
    longest_ping(&mut bystander, TOPIC, 20).await;
    for answer in attackers.join_all().await {
        assert!(
            answer.starts_with("HTTP/1.1 408") && answer.contains("http.timeout_ms"),
            "{answer}"
        );
    }
    served(&server).await;
    longest_ping(&mut bystander, TOPIC, 20).await;
}

#[tokio::test]
async fn clients_that_do_not_read_what_they_ask_for_keep_no_place() {
    let config = "[socket]\nmax_connections = 6\nhandshake_timeout_ms = 1000";
    let app = app(config, "http = {}");
    let app = app.environment("RUST_LOG", "info,millrace::net::paced=debug");
    let server = app.serve();
    let mut bystander = bystander(&server).await;
    let mut attackers = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!("GET /large.bin HTTP/1.1\r\nhost: {}\r\n\r\n", server.address());
        stream.write_all(request.as_bytes()).await.unwrap();
        // It has begun to answer.
        stream.readable().await.unwrap();
        attackers.push(stream);
    }
    longest_ping(&mut bystander, TOPIC, 20).await;
    served(&server).await;
    // Whoever reads on before it has had its time is a slow reader.
    server.wait_for_log("a client does not take its response", 5);
    for mut stream in attackers {
        let (mut into, mut all) = (vec![0; 1024 * 1024], 0);
        while let Ok(read @ 1..) = timeout(PATIENCE, stream.read(&mut into)).await.unwrap() {
            all += read;
        }
        assert!(all < 256 * 1024 * 1024, "it was cut off: {all}");
    }
}

#[tokio::test]
async fn one_that_reads_slowly_gets_all_of_it() {
    let server = app("[socket]\nhandshake_timeout_ms = 300", "http = {}").serve();
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let request = format!(
        "GET /large.bin HTTP/1.1\r\nhost: {}\r\nrange: bytes=0-16777215\r\nconnection: close\r\n\r\n",
        server.address()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut into, mut all) = (vec![0; 512 * 1024], 0);
    loop {
        match stream.read(&mut into).await.unwrap() {
            0 => break,
            read => all += read,
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert!(all > 16 * 1024 * 1024, "{all}");
}

#[tokio::test]
async fn a_megabyte_of_tiny_events_costs_others_nothing() {
    let server = app("", "http = {}").serve();
    let (mut first, mut second) = (bystander(&server).await, bystander(&server).await);
    let before = server.resident_bytes();
    let body = format!("[1{}]", ",1".repeat(500_000));
    let post = HttpRequest::new("POST", "/pipelines/jobs/events").body("application/json", &body);
    let attack = async {
        for _ in 0..5 {
            let refused = post.send(server.address()).await;
            let told = "the body has 500001 events, allowed are 10000 (http.max_events)\n";
            assert_eq!((refused.status, refused.body.as_str()), (413, told));
        }
    };
    let ((), longest, other) = tokio::join!(
        attack,
        longest_ping(&mut first, TOPIC, 200),
        longest_ping(&mut second, TOPIC, 200)
    );
    let grown = server.resident_bytes().saturating_sub(before) / (1024 * 1024);
    assert!(grown < 80, "{grown} MB for bodies of one");
    assert!(longest.max(other) < Duration::from_secs(2), "{longest:?} {other:?}");
}

#[tokio::test]
async fn as_many_as_are_allowed_are_taken_in_turns_and_all_or_none_of_a_request() {
    let server = app("", "http = {}\n[pipelines.jobs.buffer]\nsize = 25_000\n").serve();
    let mut bystander = bystander(&server).await;
    let event = json!({ "user": "ada", "seq": 1, "work_ms": 20_000 }).to_string();
    let body = vec![event; 10_000].join("\n");
    let post = HttpRequest::new("POST", "/pipelines/jobs/events");
    let post = post.body("application/x-ndjson", &body);
    let send = || post.send(server.address());
    let (first, second, third, _) =
        tokio::join!(send(), send(), send(), longest_ping(&mut bystander, TOPIC, 50));
    let mut told =
        [first, second, third].map(|told| (told.status, told.json()["accepted"].clone()));
    told.sort_by_key(|(status, _)| *status);
    assert_eq!(told, [(202, json!(10_000)), (202, json!(10_000)), (429, json!(0))]);
}

#[tokio::test]
async fn thousands_of_events_that_fail_do_not_fill_the_log() {
    let server = app("", "http = {}\nretry = { max_attempts = 2, backoff_ms = 1 }").serve();
    let mut bystander = bystander(&server).await;
    let body = format!("[1{}]", ",1".repeat(9_999));
    let post = HttpRequest::new("POST", "/pipelines/jobs/events").body("application/json", &body);
    let begin = Instant::now();
    assert_eq!(post.send(server.address()).await.status, 202);
    longest_ping(&mut bystander, TOPIC, 50).await;
    let path = "/pipelines/jobs";
    let failed = async {
        loop {
            let view = HttpRequest::new("GET", path).send(server.admin()).await.json();
            if view["totals"]["failed"] == 10_000 {
                break;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, failed).await.expect("all are given up");
    // 30,000 without a bound; twice what the bounds let through, with what a start says.
    let most = 2 * 110 * (2 + begin.elapsed().as_secs() as usize) + 50;
    let lines = server.log().lines().count();
    assert!(lines < most, "{lines} lines, at most {most} are expected");
    assert!(server.log().contains("an event was given up"));
}

#[tokio::test]
async fn a_pipeline_that_is_open_to_the_network_is_told_of() {
    let config = "[pipelines.jobs]\nworker.plugin = \"jobs\"\n";
    for (http, is_open) in [("http = {}", true), ("http.token = \"secret\"", false)] {
        let app = App::jobs().with(&format!("{config}{http}\n"));
        let server = app.listen("0.0.0.0:0").serve();
        // The lines of the start are there once it has ended.
        assert!(server.terminate().success());
        let told = server.log().contains("set pipelines.jobs.http.token");
        assert_eq!(told, is_open, "{http}: {}", server.log());
    }
}
