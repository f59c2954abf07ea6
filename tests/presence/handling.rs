//! Plugins that read who is present, and handle changes.

use millrace_tests::{App, TestClient, TestServer};
use serde_json::{Value, json};

use crate::{event, without_refs};

fn door() -> App {
    App::written("").plugin("door", "tests/apps/door")
}

/// A client that joins as somebody.
async fn enter(server: &TestServer, topic: &str, name: &str) -> TestClient {
    let mut client = server.client().await;
    let join = client.send_join(topic, json!({ "name": name })).await;
    client.expect_reply(topic, &join, "ok", json!({})).await;
    client
}

/// What the handler says of somebody who came.
fn came(name: &str) -> Value {
    json!({ "came": [name], "went": [] })
}

/// The payload of the next message of this event, whatever comes before it.
async fn next(client: &mut TestClient, event: &str) -> Value {
    loop {
        let message = client.socket.recv_json().await;
        if message[3] == event {
            return message[4].clone();
        }
    }
}

#[tokio::test]
async fn a_handler_is_told_of_each_change_once_and_in_order() {
    let server = door().serve();
    let topic = "door:front";
    let mut ada = enter(&server, topic, "ada").await;
    assert_eq!(next(&mut ada, "changed").await, came("ada"));
    let mut names = Vec::new();
    for n in 0..20 {
        names.push(enter(&server, topic, &format!("guest{n}")).await);
    }
    for n in 0..20 {
        let name = format!("guest{n}");
        assert_eq!(next(&mut ada, "changed").await, came(&name));
    }
    drop(names.pop());
    assert_eq!(next(&mut ada, "changed").await, json!({ "came": [], "went": ["guest19"] }));
}

#[tokio::test]
async fn a_handler_that_panics_is_told_of_the_next_change() {
    let server = door().serve();
    let topic = "door:bomb";
    let _bomb = enter(&server, topic, "bomb").await;
    server.wait_for_log("handle-presence failed", 1);
    let mut ada = enter(&server, topic, "ada").await;
    assert_eq!(next(&mut ada, "changed").await, json!({ "came": ["ada"], "went": [] }));
}

#[tokio::test]
async fn a_task_tracks_for_the_channel_that_started_it() {
    let server = door().serve();
    let topic = "door:task";
    let mut watcher = server.client().await;
    watcher.join(topic).await;
    let mut ada = server.client().await;
    ada.join(topic).await;
    ada.push(topic, "later", json!({ "name": "ada" })).await;
    let came = next(&mut watcher, "presence_diff").await;
    assert_eq!(without_refs(&came["joins"]), json!({ "ada": { "metas": [{ "from": "a task" }] } }));
    drop(ada);
    let went = next(&mut watcher, "presence_diff").await;
    assert_eq!(without_refs(&went["leaves"])["ada"], without_refs(&came["joins"])["ada"]);
}

#[tokio::test]
async fn another_topic_is_read_only_with_a_grant() {
    for (publish, expected) in [("door:*", json!({ "names": ["ada"] })), ("other:*", json!(null))] {
        let app = door().with(&format!("[plugins.door.grants]\npublish = [\"{publish}\"]"));
        let server = app.serve();
        let _ada = enter(&server, "door:inside", "ada").await;
        let mut bob = server.client().await;
        bob.join("door:outside").await;
        bob.push("door:outside", "who", json!({ "topic": "door:inside" })).await;
        let reply = event(&mut bob, "door:outside", "phx_reply").await;
        match expected.is_null() {
            true => {
                assert_eq!(reply["status"], "error");
                let reason = reply["response"]["reason"].as_str().unwrap();
                assert!(reason.contains("grants") && reason.contains("publish"), "{reason}");
            }
            false => assert_eq!(reply["response"], expected),
        }
    }
}
