//! Overload does not make memory grow past the bounds.

use millrace_tests::{App, HttpRequest, TestServer, eventually};
use serde_json::json;

use super::{enqueued, until};

/// Payloads that the buffer may have.
const MAX_BYTES: u64 = 8 << 20;
/// Times as much is sent.
const TIMES: u64 = 20;
/// One payload, roughly.
const EVENT_BYTES: u64 = 64 << 10;
/// What the server may grow by: the payloads in hand, an allocator's waste of the
/// same size, and the bodies of requests.
const ALLOWED: u64 = 2 * MAX_BYTES + (8 << 20);

/// Resident memory of the server.
fn resident(server: &TestServer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Posts `TIMES` what fits while the one worker is stuck; the statuses that came.
async fn flood(server: &TestServer) -> Vec<u16> {
    let mut statuses = Vec::new();
    let text = "x".repeat(EVENT_BYTES as usize);
    for seq in 0..TIMES * MAX_BYTES / EVENT_BYTES / 8 {
        let line =
            |at| format!("{}\n", json!({ "user": "ada", "seq": seq * 8 + at, "text": text }));
        let body: String = (0..8).map(line).collect();
        let request =
            HttpRequest::new("POST", "/pipelines/jobs/events").body("application/x-ndjson", &body);
        statuses.push(request.send(server.address()).await.status);
    }
    statuses
}

#[tokio::test]
async fn a_flood_beside_a_stuck_worker_takes_no_more_than_the_bounds() {
    for (on_full, flooded, dropped) in [
        ("on_full = \"reject\"", 429, None),
        ("keep = \"first\"", 202, Some("newest")),
        ("keep = \"last\"", 202, Some("oldest")),
    ] {
        let server = App::jobs()
            .pipeline(
                "jobs",
                &format!(
                    "partition_by = \"/user\"\nhttp = {{}}\ndispatcher = \"isolate\"\n\
                     worker = {{ plugin = \"jobs\", max_demand = 1 }}\n\
                     [pipelines.jobs.buffer]\nmax_bytes = {MAX_BYTES}\n{on_full}\n",
                ),
            )
            .serve();
        let stuck = json!({ "user": "ada", "seq": 0, "work_ms": 60_000 });
        enqueued(&server, "jobs", &[stuck]).await;
        until(&server, "jobs", |totals| totals["in_flight"] == 1).await;
        let before = resident(&server);
        let statuses = flood(&server).await;
        // What was refused or dropped is free at once, and the allocator gives it back soon.
        let grown = async || {
            let grown = resident(&server).saturating_sub(before);
            (grown < ALLOWED).then_some(grown)
        };
        let grown = eventually(&format!("{on_full}: no more than {ALLOWED} bytes"), grown).await;
        let refused = statuses.iter().filter(|status| **status == flooded).count();
        // The first twentieth found room.
        assert!(refused >= statuses.len() * 9 / 10, "{on_full}: {statuses:?}");
        assert!(statuses.iter().all(|status| [202, flooded].contains(status)), "{statuses:?}");
        let view = until(&server, "jobs", |_| true).await;
        let bytes = view["totals"]["bytes"].as_u64().unwrap();
        assert!(bytes < MAX_BYTES + 2 * EVENT_BYTES, "{view}");
        eprintln!("{on_full}: {bytes} bytes in hand, grown by {grown}");
        let gone = match dropped {
            Some(reason) => view["totals"]["dropped"][reason].as_u64(),
            None => view["totals"]["rejected"].as_u64(),
        };
        let sent = statuses.len() as u64 * 8;
        let kept = view["totals"]["buffered"].as_u64().unwrap();
        assert_eq!(gone, Some(sent - kept), "{view}");
    }
}
