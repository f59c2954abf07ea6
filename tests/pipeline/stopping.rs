//! A server that stops finishes what it has taken.

use millrace_tests::Gate;
use serde_json::json;

use super::enqueued;
use super::jobs::gated_app;

#[tokio::test]
async fn events_in_hand_are_handled_before_the_server_ends() {
    let gate = Gate::closed();
    let server = gated_app(&gate).serve();
    let slow = |seq| json!({ "user": "ada", "seq": seq, "work_ms": 1 });
    let jobs: Vec<_> = (0..12).map(slow).collect();
    enqueued(&server, "jobs", &jobs).await;
    gate.until_waiting(4).await;
    server.tell_to_stop();
    server.wait_for_log("stopping", 1);
    gate.open();
    assert!(server.wait().success());
    let log = server.log();
    assert!(log.contains("drained pipeline=\"jobs\" done=12 failed=0 dropped=0"), "{log}");
}
