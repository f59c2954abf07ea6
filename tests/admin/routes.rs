//! What is answered.

use millrace_tests::{App, Gate, HttpRequest, PATIENCE, eventually};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{ask, assert_problem, done, user};

#[tokio::test]
async fn plugins_are_described_with_what_they_have_done() {
    let server = App::slow().admin().serve();
    let all = done(&server, "GET", "/plugins", None).await;
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let slow = &all[0];
    assert_eq!((&slow["name"], &slow["topics"]), (&json!("slow"), &json!(["slow:*"])));
    assert_eq!(slow["version"].as_str().unwrap().len(), 8);
    assert_eq!(slow["limits"]["max_instances"], 2048);
    assert_eq!((&slow["faults"], &slow["held"]), (&json!({}), &json!(false)));
    let exports = slow["exports"].as_array().unwrap();
    assert!(exports.contains(&json!("channel")) && exports.contains(&json!("socket")), "{slow}");

    let mut client = server.client().await;
    client.join("slow:a").await;
    client.push("slow:a", "crash", json!({})).await;
    client.expect_crashed("slow:a").await;
    let slow = done(&server, "GET", "/plugins/slow", None).await;
    assert_eq!(slow["faults"], json!({ "trap": 1 }), "{slow}");
    let fault = &slow["last_faults"][0];
    assert_eq!((&fault["cause"], &fault["topic"]), (&json!("trap"), &json!("slow:a")), "{slow}");
    let instances = &slow["instances"];
    assert!(instances["live"].as_u64() >= instances["idle"].as_u64(), "{slow}");
}

#[tokio::test]
async fn an_instance_at_work_is_not_idle() {
    let server = App::slow().admin().serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    client.push("slow:a", "wait", json!({ "ms": 60_000 })).await;
    client.expect_nothing().await;
    let slow = done(&server, "GET", "/plugins/slow", None).await;
    let busy =
        slow["instances"]["live"].as_u64().unwrap() - slow["instances"]["idle"].as_u64().unwrap();
    assert_eq!(busy, 1, "{slow}");
}

#[tokio::test]
async fn sockets_are_listed_page_by_page_and_by_user() {
    let server = App::slow().admin().serve();
    let mut ada = user(&server, "ada").await;
    ada.join("slow:a").await;
    ada.join("slow:b").await;
    let (mut bob, mut nobody) = (user(&server, "bob").await, server.client().await);
    bob.expect_nothing().await;
    nobody.expect_nothing().await;

    let all = done(&server, "GET", "/sockets", None).await;
    assert_eq!((&all["count"], &all["next"]), (&json!(3), &Value::Null), "{all}");
    let (mut from, mut ids) = (json!(0), Vec::new());
    while let Some(first) = from.as_u64() {
        let page = done(&server, "GET", &format!("/sockets?max=1&from={first}"), None).await;
        assert_eq!(page["sockets"].as_array().unwrap().len(), 1, "{page}");
        ids.push(page["sockets"][0]["id"].as_u64().unwrap());
        from = page["next"].clone();
    }
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted());

    let found = done(&server, "GET", "/sockets?user=ada", None).await;
    assert_eq!(found["count"], 1);
    let socket = &found["sockets"][0];
    assert_eq!((&socket["user"], &socket["channels"]), (&json!("ada"), &json!(2)), "{socket}");
    assert!(socket["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{socket}");
    assert_eq!((&socket["realm"], &socket["waiting_bytes"]), (&json!("app"), &json!(0)));
    let path = format!("/sockets/{}", socket["id"]);
    assert_eq!(done(&server, "GET", &path, None).await["topics"], json!(["slow:a", "slow:b"]));
    ada.expect_answer("slow:a", "phx_leave", json!({}), "ok", json!({})).await;
    ada.expect_closed("slow:a").await;
    assert_eq!(done(&server, "GET", &path, None).await["topics"], json!(["slow:b"]));
    assert_eq!(done(&server, "GET", "/sockets?user=eve", None).await["count"], 0);
}

#[tokio::test]
async fn connections_are_closed_one_by_one_or_by_user() {
    let server = App::slow().admin().serve();
    let (mut ada, mut also_ada) = (user(&server, "ada").await, user(&server, "ada").await);
    let mut bob = user(&server, "bob").await;
    let found = done(&server, "GET", "/sockets?user=bob", None).await;
    let path = format!("/sockets/{}", found["sockets"][0]["id"]);
    assert_eq!(done(&server, "DELETE", &path, None).await, json!({ "closed": 1 }));
    assert_eq!(bob.socket.expect_close().await, (1001, "disconnected".to_owned()));

    let told = done(&server, "POST", "/disconnect", Some(json!({ "user": "ada" }))).await;
    assert_eq!(told, json!({ "closed": 2 }));
    for client in [&mut ada, &mut also_ada] {
        assert_eq!(client.socket.expect_close().await, (1001, "disconnected".to_owned()));
    }
    server.wait_for_log("an operator asked", 2);
}

#[tokio::test]
async fn the_snapshot_is_there_a_second_after_the_start() {
    let server = App::slow().admin().serve();
    let waited = async {
        loop {
            let response = ask(&server, "GET", "/snapshot", None).await;
            if response.status == 200 {
                return response.json();
            }
            assert_problem(&response, 503, &["come again"]);
            assert_eq!(response.header("retry-after"), Some("1"));
        }
    };
    let snapshot = timeout(PATIENCE, waited).await.expect("a snapshot");
    assert_eq!(snapshot["plugins"][0]["plugin"], "slow", "{snapshot}");
    assert!(snapshot["sample"]["memory_bytes"].as_f64() > Some(0.0), "{snapshot}");
    // The page for operators is another thing.
    let page = HttpRequest::new("GET", "/dashboard").send(server.address()).await;
    assert_eq!(page.status, 404);
}

#[tokio::test]
async fn it_is_there_while_the_server_drains() {
    let gate = Gate::closed();
    let server = App::gated_slow(&gate).admin().serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    let slow = client.push("slow:a", "wait", json!({ "ms": 1 })).await;
    client.expect_nothing().await;
    assert_eq!(done(&server, "GET", "/health", None).await["stage"], "ready");
    server.tell_to_stop();
    let drains = async || {
        let health = done(&server, "GET", "/health", None).await;
        (health["stage"] == "draining").then_some(())
    };
    eventually("the server drains", drains).await;
    assert_eq!(done(&server, "GET", "/sockets", None).await["count"], 1);
    gate.open();
    client.expect_reply("slow:a", &slow, "ok", json!({})).await;
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

#[tokio::test]
async fn pipelines_are_looked_at_and_their_dispatchers_switched() {
    let server = App::jobs_app().serve();
    let all = done(&server, "GET", "/pipelines", None).await;
    let one = done(&server, "GET", "/pipelines/jobs", None).await;
    assert_eq!(all, json!([one]));
    assert!(one["dispatchers"][0].as_str().unwrap().starts_with("dispatch "), "{one}");
    let path = "/pipelines/jobs/dispatcher";
    let switched = done(&server, "POST", path, Some(json!({ "dispatcher": "demand" }))).await;
    assert_eq!(switched["dispatchers"], json!(["demand"]));
    for (wanted, problem) in [
        (json!({ "dispatcher": "fare" }), "is expected"),
        (json!({ "dispatcher": "jobs" }), "does not export `dispatcher`"),
        (json!({ "dispatcher": "fair", "stage": 7 }), "there is no such stage"),
        (json!({ "dispatcher": "broadcast" }), "millrace.toml"),
    ] {
        let refused = ask(&server, "POST", path, Some(wanted)).await;
        assert_problem(&refused, 400, &[problem, "the dispatcher it had goes on"]);
    }
    let dispatchers = &done(&server, "GET", "/pipelines/jobs", None).await["dispatchers"];
    assert_eq!(*dispatchers, json!(["demand"]));
}
