//! The messages, one by one.

use millrace_tests::{App, TestServer};
use serde_json::json;

use crate::{diff, event, present, without_refs};

#[tokio::test]
async fn who_joins_is_told_who_is_there_and_the_others_that_somebody_came() {
    let server = TestServer::shared();
    let topic = "room:presence-joins";
    let mut ada = present(&server, topic, "ada", json!({ "from": "London" })).await;
    let mut bob = server.client().await;
    let join = bob.send_join(topic, json!({ "track": "bob", "meta": { "n": 1 } })).await;
    bob.expect_reply(topic, &join, "ok", json!({})).await;
    let state = event(&mut bob, topic, "presence_state").await;
    let expected = json!({
        "ada": { "metas": [{ "from": "London" }] },
        "bob": { "metas": [{ "n": 1 }] },
    });
    assert_eq!(without_refs(&state), expected);
    let joins = json!({ "joins": { "bob": { "metas": [{ "n": 1 }] } }, "leaves": {} });
    assert_eq!(diff(&mut ada, topic).await, joins);
    assert_eq!(diff(&mut bob, topic).await, joins);
    bob.leave(topic).await;
    let leaves = json!({ "joins": {}, "leaves": { "bob": { "metas": [{ "n": 1 }] } } });
    assert_eq!(diff(&mut ada, topic).await, leaves);
}

#[tokio::test]
async fn the_state_is_a_push_of_the_channel_and_a_diff_a_broadcast() {
    let server = TestServer::shared();
    let topic = "room:presence-refs";
    let mut ada = server.client().await;
    let join = ada.send_join(topic, json!({ "track": "ada" })).await;
    ada.expect_reply(topic, &join, "ok", json!({})).await;
    let (state, diff) = (ada.socket.recv_json().await, ada.socket.recv_json().await);
    assert_eq!(state[0], json!(ada.join_ref(topic)));
    assert_eq!(
        (&diff[0], &diff[1], &diff[3]),
        (&json!(null), &json!(null), &json!("presence_diff"))
    );
    let phx_ref = |presences: &serde_json::Value| presences["ada"]["metas"][0]["phx_ref"].clone();
    assert_eq!(phx_ref(&state[4]), phx_ref(&diff[4]["joins"]));
}

#[tokio::test]
async fn who_was_there_before_anybody_was_tracked_gets_a_state_before_the_first_diff() {
    let server = TestServer::shared();
    let topic = "room:presence-first";
    let mut watcher = server.client().await;
    watcher.join(topic).await;
    let mut ada = present(&server, topic, "ada", json!({})).await;
    assert_eq!(event(&mut watcher, topic, "presence_state").await, json!({}));
    let came = json!({ "joins": { "ada": { "metas": [{}] } }, "leaves": {} });
    assert_eq!(diff(&mut watcher, topic).await, came);
    // Once the last has gone, all know that nobody is there: the next needs no other state.
    ada.leave(topic).await;
    let went = json!({ "joins": {}, "leaves": { "ada": { "metas": [{}] } } });
    assert_eq!(diff(&mut watcher, topic).await, went);
    let _bob = present(&server, topic, "bob", json!({})).await;
    let came = json!({ "joins": { "bob": { "metas": [{}] } }, "leaves": {} });
    assert_eq!(diff(&mut watcher, topic).await, came);
}

#[tokio::test]
async fn a_meta_is_updated_by_a_join_and_a_leave_and_untracked_by_a_leave() {
    let server = TestServer::shared();
    let topic = "room:presence-updates";
    let mut ada = present(&server, topic, "ada", json!({ "at": "desk" })).await;
    ada.push(topic, "update", json!({ "key": "ada", "meta": { "at": "lunch" } })).await;
    let payload = event(&mut ada, topic, "presence_diff").await;
    assert_eq!(event(&mut ada, topic, "phx_reply").await["status"], "ok");
    let (joined, left) =
        (&payload["joins"]["ada"]["metas"][0], &payload["leaves"]["ada"]["metas"][0]);
    assert_eq!((&joined["at"], &left["at"]), (&json!("lunch"), &json!("desk")));
    assert_eq!(joined["phx_ref_prev"], left["phx_ref"]);
    ada.push(topic, "presence_list", json!({})).await;
    let list = event(&mut ada, topic, "phx_reply").await["response"]["presences"].clone();
    assert_eq!(without_refs(&list), json!({ "ada": { "metas": [{ "at": "lunch" }] } }));
    ada.push(topic, "untrack", json!({ "key": "ada" })).await;
    let went = json!({ "joins": {}, "leaves": { "ada": { "metas": [{ "at": "lunch" }] } } });
    assert_eq!(diff(&mut ada, topic).await, went);
}

#[tokio::test]
async fn two_channels_are_two_metas_of_one_key() {
    let server = TestServer::shared();
    let topic = "room:presence-tabs";
    let mut first = present(&server, topic, "ada", json!({ "tab": 1 })).await;
    let mut second = server.client().await;
    let join = second.send_join(topic, json!({ "track": "ada", "meta": { "tab": 2 } })).await;
    second.expect_reply(topic, &join, "ok", json!({})).await;
    let state = event(&mut second, topic, "presence_state").await;
    let both = json!({ "ada": { "metas": [{ "tab": 1 }, { "tab": 2 }] } });
    assert_eq!(without_refs(&state), both);
    let came = json!({ "joins": { "ada": { "metas": [{ "tab": 2 }] } }, "leaves": {} });
    assert_eq!(diff(&mut first, topic).await, came);
    drop(second);
    let went = json!({ "joins": {}, "leaves": { "ada": { "metas": [{ "tab": 2 }] } } });
    assert_eq!(diff(&mut first, topic).await, went);
}

#[tokio::test]
async fn changes_of_one_window_are_one_diff_and_who_comes_and_goes_in_it_is_in_none() {
    let more = "[[presence.topics]]\ntopics = \"room:*\"\nwindow_ms = 2000";
    let server = App::probe().with(more).serve();
    let topic = "room:window";
    let mut watcher = server.client().await;
    watcher.join(topic).await;
    // A topic of the configuration has a state from the start.
    assert_eq!(event(&mut watcher, topic, "presence_state").await, json!({}));
    for key in ["a", "b", "c", "gone"] {
        watcher.push(topic, "track", json!({ "key": key })).await;
        event(&mut watcher, topic, "phx_reply").await;
    }
    watcher.push(topic, "untrack", json!({ "key": "gone" })).await;
    event(&mut watcher, topic, "phx_reply").await;
    let metas = || json!({ "metas": [{}] });
    let came = json!({ "joins": { "a": metas(), "b": metas(), "c": metas() }, "leaves": {} });
    assert_eq!(diff(&mut watcher, topic).await, came);
}
