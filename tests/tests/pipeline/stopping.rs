//! A server that stops finishes what it has taken.

use millrace_tests::App;
use serde_json::json;

use super::{enqueued, until};

#[tokio::test]
async fn events_in_hand_are_handled_before_the_server_ends() {
    let server = App::jobs_app().serve();
    let slow = |seq| json!({ "user": "ada", "seq": seq, "work_ms": 100 });
    let jobs: Vec<_> = (0..12).map(slow).collect();
    enqueued(&server, "jobs", &jobs).await;
    until(&server, "jobs", |totals| totals["in_flight"] == 4).await;
    assert!(server.terminate().success());
    let log = server.log();
    assert!(log.contains("drained pipeline=\"jobs\" done=12 failed=0 dropped=0"), "{log}");
}
