//! Whatever ends a channel ends what it has tracked.

use millrace_tests::TestServer;
use serde_json::{Value, json};

use crate::{diff, present};

fn went(key: &str) -> Value {
    json!({ "joins": {}, "leaves": { key: { "metas": [{}] } } })
}

fn came(key: &str) -> Value {
    json!({ "joins": { key: { "metas": [{}] } }, "leaves": {} })
}

#[tokio::test]
async fn a_crash_a_stop_a_second_join_and_a_cut_connection_end_it() {
    let server = TestServer::shared();
    let topic = "room:presence-ends";
    let mut watcher = present(&server, topic, "watcher", json!({})).await;

    let mut crashed = present(&server, topic, "crashed", json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, came("crashed"));
    crashed.push(topic, "crash", json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, went("crashed"));

    let mut stopped = present(&server, topic, "stopped", json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, came("stopped"));
    stopped.push(topic, "stop", json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, went("stopped"));

    let mut again = present(&server, topic, "again", json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, came("again"));
    again.send_join(topic, json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, went("again"));

    let cut = present(&server, topic, "cut", json!({})).await;
    assert_eq!(diff(&mut watcher, topic).await, came("cut"));
    drop(cut);
    assert_eq!(diff(&mut watcher, topic).await, went("cut"));
}
