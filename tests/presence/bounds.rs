//! Bounds: what is above one is left out, and nobody else notices.

use millrace_tests::{App, TestClient, TestServer};
use serde_json::{Value, json};

use crate::{diff, event, present, without_refs};

/// Who is there, as the plugin sees it.
async fn list(client: &mut TestClient, topic: &str) -> Value {
    client.push(topic, "presence_list", json!({})).await;
    let reply = event(client, topic, "phx_reply").await;
    without_refs(&reply["response"]["presences"])
}

#[tokio::test]
async fn absurd_metas_and_keys_are_left_out_and_the_channel_goes_on() {
    let server = TestServer::shared();
    let topic = "room:presence-absurd";
    let mut ada = server.client().await;
    ada.join(topic).await;
    let large = "x".repeat(5_000);
    for payload in [
        json!({ "key": "list", "meta": [1, 2] }),
        json!({ "key": "number", "meta": 7 }),
        json!({ "key": "large", "meta": { "text": large } }),
        json!({ "key": "", "meta": {} }),
    ] {
        ada.push(topic, "track", payload).await;
        assert_eq!(event(&mut ada, topic, "phx_reply").await["status"], "ok");
    }
    assert_eq!(list(&mut ada, topic).await, json!({}));
    // What the server adds is the server's: a client cannot give itself a ref.
    ada.push(topic, "track", json!({ "key": "ada", "meta": { "phx_ref": "mine", "a": 1 } })).await;
    assert_eq!(event(&mut ada, topic, "presence_state").await, json!({}));
    let came = json!({ "joins": { "ada": { "metas": [{ "a": 1 }] } }, "leaves": {} });
    assert_eq!(diff(&mut ada, topic).await, came);
}

#[tokio::test]
async fn one_channel_tracks_so_many_keys_and_one_key_has_so_many_metas() {
    let server = App::probe().with("[presence]\nmax_keys = 2\nmax_metas = 3").serve();
    let topic = "room:bounds";
    let mut ada = server.client().await;
    ada.join(topic).await;
    for key in ["a", "b", "c", "a"] {
        ada.push(topic, "track", json!({ "key": key })).await;
    }
    let mut seen = Vec::new();
    while seen.last() != Some(&json!("reply 4")) {
        let message = ada.socket.recv_json().await;
        match message[3].as_str() {
            Some("phx_reply") => {
                let replies = seen.iter().filter(|s: &&Value| s.is_string()).count() + 1;
                seen.push(json!(format!("reply {replies}")));
            }
            _ => seen.push(message[4].clone()),
        }
    }
    let metas = || json!({ "metas": [{}] });
    assert_eq!(list(&mut ada, topic).await, json!({ "a": metas(), "b": metas() }));
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = server.client().await;
        let join = other.send_join(topic, json!({ "track": "a" })).await;
        other.expect_reply(topic, &join, "ok", json!({})).await;
        others.push(other);
    }
    let mut last = server.client().await;
    last.join(topic).await;
    let state = event(&mut last, topic, "presence_state").await;
    assert_eq!(state["a"]["metas"].as_array().map(Vec::len), Some(3), "{state}");
}

#[tokio::test]
async fn of_many_members_clients_are_told_the_number() {
    let more = "[[presence.topics]]\ntopics = \"room:*\"\nmax_members = 2";
    let server = App::probe().with(more).serve();
    let topic = "room:crowd";
    let mut watcher = server.client().await;
    watcher.join(topic).await;
    assert_eq!(event(&mut watcher, topic, "presence_state").await, json!({}));
    let mut clients = Vec::new();
    for key in ["a", "b", "c"] {
        let mut client = server.client().await;
        let join = client.send_join(topic, json!({ "track": key })).await;
        client.expect_reply(topic, &join, "ok", json!({})).await;
        clients.push(client);
        if key != "c" {
            assert_eq!(diff(&mut watcher, topic).await["leaves"], json!({}));
        }
    }
    assert_eq!(event(&mut watcher, topic, "presence_count").await, json!({ "n": 3 }));
    let mut late = server.client().await;
    late.join(topic).await;
    assert_eq!(event(&mut late, topic, "presence_count").await, json!({ "n": 3 }));
    // With nine tenths of two, everybody is named again.
    clients.truncate(1);
    let state = event(&mut watcher, topic, "presence_state").await;
    assert_eq!(without_refs(&state), json!({ "a": { "metas": [{}] } }));
}

#[tokio::test]
async fn a_client_that_has_missed_changes_is_told_everything_anew() {
    for policy in ["drop_oldest", "conflate"] {
        let more = format!(
            "[socket]\noutbox_bytes = 20000\n\
             [[socket.outbox_policies]]\ntopics = \"room:*\"\npolicy = \"{policy}\""
        );
        let server = App::probe().with(&more).serve();
        let topic = "room:slow";
        let mut ada = present(&server, topic, "ada", json!({})).await;
        let mut deaf = TestClient::deaf(&server, topic).await;
        let text = "x".repeat(3_000);
        for n in 0..=LAST {
            ada.push(topic, "update", json!({ "key": "ada", "meta": { "n": n, "t": text } })).await;
            event(&mut ada, topic, "presence_diff").await;
            event(&mut ada, topic, "phx_reply").await;
        }
        check_that_it_catches_up(&mut deaf, policy).await;
    }
}

/// It ends with the last meta, and a state comes behind each hole.
async fn check_that_it_catches_up(deaf: &mut TestClient, policy: &str) {
    let (mut known, mut has_hole, mut messages, mut states) = (Value::Null, false, 0, 0);
    let mut last = Value::Null;
    while has_hole || last != json!(LAST) {
        let message = deaf.socket.recv_json().await;
        messages += 1;
        let meta = match message[3].as_str() {
            Some("presence_state") => {
                (states, has_hole) = (states + 1, false);
                &message[4]["ada"]["metas"][0]
            }
            _ => {
                let meta = &message[4]["joins"]["ada"]["metas"][0];
                has_hole |= meta["phx_ref_prev"] != known;
                meta
            }
        };
        (known, last) = (meta["phx_ref"].clone(), meta["n"].clone());
    }
    assert!(messages < LAST, "{policy}: none was dropped");
    assert!(states > 1, "{policy}: {states} states");
}

/// The number of the last change: far more than fit into the sockets and the outbox together.
const LAST: usize = 3_999;
