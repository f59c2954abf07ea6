//! Nothing is forged, and nothing is reached without a grant.

use std::time::Duration;

use millrace_tests::{App, TestClient, TestServer, TestSocket};
use serde_json::{Value, json};

use crate::longest_ping;

const TOPIC: &str = "hostile:a";
async fn joined(server: &TestServer, topic: &str) -> TestClient {
    let mut client = server.client().await;
    client.join(topic).await;
    client
}

/// Asks for the socket ref of a message that is answered at once with it.
async fn socket_ref(client: &mut TestClient, topic: &str) -> (String, String) {
    let asked = client.push(topic, "my_ref", json!({})).await;
    let answer = client.socket.recv_json().await;
    assert_eq!(answer[1], json!(asked), "{answer}");
    (asked, answer[4]["response"]["reference"].as_str().unwrap().to_owned())
}

/// What became of an effect that is left out: nothing, and the handler's reply is `ok`.
async fn left_out(client: &mut TestClient, topic: &str, event: &str, order: Value) {
    client.expect_answer(topic, event, order, "ok", json!({})).await;
}

/// The next thing that a client of `slow:a` hears is the answer to what it asks now.
async fn hears_nothing(client: &mut TestClient) {
    client.expect_answer("slow:a", "ping", json!({}), "ok", json!({})).await;
    client.expect_nothing().await;
}

/// The log says that something was withheld, and in which message of which topic.
fn denied(server: &TestServer, what: &str) {
    let words = format!("an effect was left out: {what}");
    server.wait_for_log(&words, 1);
    let log = server.log();
    let line = log.lines().find(|line| line.contains(&words)).unwrap();
    for field in [" plugin=", " id=", " topic="] {
        assert!(line.contains(field), "{line}");
    }
}

/// Ada waits for an answer; Mallory is handed a ref of her own, and makes of it what
/// hers might be.
#[tokio::test]
async fn nobody_answers_or_pushes_by_a_ref_that_is_made_up() {
    let server = App::slow().admin().serve();
    let (mut ada, mut mallory) = (joined(&server, "slow:a").await, joined(&server, "slow:b").await);
    let asked = ada.push("slow:a", "ask", json!({})).await;
    let (_, own) = socket_ref(&mut mallory, "slow:b").await;
    let parts: Vec<Value> = serde_json::from_str(&own).unwrap();
    let mut forged = Vec::new();
    for connection in 0..8 {
        for channel in 0..8 {
            let mut parts = parts.clone();
            (parts[1], parts[2]) = (json!(connection), json!(channel));
            (parts[3], parts[4]) = (json!("slow:a"), json!(asked));
            forged.push(Value::from(parts.clone()).to_string());
            forged.push(Value::from(parts[..5].to_vec()).to_string());
        }
    }
    forged.extend(["", "forged", "[]", "null"].map(str::to_owned));
    for text in forged {
        left_out(&mut mallory, "slow:b", "answer_ref", json!({ "reference": text })).await;
    }
    hears_nothing(&mut ada).await;
    denied(&server, "what is no socket ref of this server,");
    // Her own answer comes as ever, and so does Mallory's to herself.
    let answer = ada.push("slow:a", "answer", json!({ "value": "hers" })).await;
    ada.expect_reply("slow:a", &asked, "ok", json!({ "value": "hers" })).await;
    ada.expect_reply("slow:a", &answer, "ok", json!({})).await;
}

/// What one plugin was given, another cannot use, unless the configuration lets it.
#[tokio::test]
async fn a_ref_is_good_for_the_plugin_it_was_given_to() {
    for (grants, is_granted) in [
        ("", false),
        ("[plugins.hostile.grants]\nreply = []", false),
        ("[plugins.hostile.grants]\nreply = [\"hostile\"]", false),
        ("[plugins.hostile.grants]\nreply = [\"relay\"]", true),
        ("[plugins.hostile.grants]\nreply = [\"*\"]", true),
    ] {
        let server = App::relay().plugin("hostile", "tests/apps/hostile").with(grants).serve();
        let mut ada = joined(&server, "relay:a").await;
        let mut mallory = joined(&server, TOPIC).await;
        let asked = ada.push("relay:a", "ref", json!({})).await;
        let reference = ada.socket.recv_json().await[4]["response"]["ref"].clone();
        let order = json!({ "reference": reference, "event": "heard" });
        left_out(&mut mallory, TOPIC, "answer_ref", order.clone()).await;
        left_out(&mut mallory, TOPIC, "push_ref", order).await;
        if is_granted {
            let said = json!({ "from": "hostile" });
            ada.expect_reply("relay:a", &asked, "ok", said.clone()).await;
            ada.expect_push("relay:a", "heard", said).await;
        }
        ada.expect_nothing_from("relay:a").await;
        if !is_granted {
            denied(&server, "a socket ref of the plugin \"relay\" is not granted");
        }
    }
}

/// A ref from before a restart is no forgery: it does nothing, as ever.
#[tokio::test]
async fn a_ref_of_another_run_reaches_nobody() {
    let (first, second) = (App::slow().serve(), App::slow().serve());
    let (mut before, mut after) = (joined(&first, "slow:a").await, joined(&second, "slow:a").await);
    let (_, reference) = socket_ref(&mut before, "slow:a").await;
    left_out(&mut after, "slow:a", "answer_ref", json!({ "reference": reference })).await;
    hears_nothing(&mut after).await;
    assert!(!second.log().contains("an effect was left out"), "{}", second.log());
}

/// Whatever a client hands in as a socket ref, the plugin goes on for all others.
#[tokio::test]
async fn a_client_cannot_trap_a_plugin_with_what_is_no_ref() {
    let server = App::slow().admin().serve();
    let (mut bystander, mut mallory) =
        (joined(&server, "slow:a").await, joined(&server, "slow:b").await);
    for number in 0..200 {
        let junk = format!("{number}{}", "[\"".repeat(number * 20));
        mallory.push("slow:b", "answer_ref", json!({ "reference": junk })).await;
    }
    for _ in 0..200 {
        let answer = mallory.socket.recv_json().await;
        assert_eq!(answer[4]["status"], "ok", "{answer}");
    }
    for _ in 0..20 {
        hears_nothing(&mut bystander).await;
    }
    // Two hundred are withheld, and the log has no two hundred lines of it.
    let lines = server.log().matches("an effect was left out").count();
    assert!((1..=60).contains(&lines), "{lines}");
}

#[tokio::test]
async fn a_plugin_hears_and_closes_what_it_is_granted() {
    let server = App::hostile()
        .plugin("probe", "tests/apps/probe")
        .admin()
        .with("[plugins.hostile.grants]\nsubscribe = [\"room:public\"]\ndisconnect = [\"guest:*\"]")
        .serve();
    let (mut spy, mut room) = (joined(&server, TOPIC).await, joined(&server, "room:private").await);
    let path = |user: &str| format!("/socket/websocket?vsn=2.0.0&user={user}");
    let connect = async |user: &str| TestSocket::connect(server.address(), &path(user)).await;
    let (mut ada, mut guest) =
        (TestClient::over(connect("ada").await), TestClient::over(connect("guest:1").await));
    for topic in ["room:private", "room:public"] {
        left_out(&mut spy, TOPIC, "subscribe", json!({ "topic": topic })).await;
    }
    room.join("room:public").await;
    for topic in ["room:private", "room:public"] {
        room.push(topic, "shout", json!({})).await;
        room.socket.recv_json().await;
        room.socket.recv_json().await;
    }
    let heard = json!({ "topic": "room:public", "event": "shout" });
    spy.expect_push(TOPIC, "heard", heard).await;
    spy.expect_nothing().await;
    for user in ["ada", "guest:1"] {
        left_out(&mut spy, TOPIC, "disconnect", json!({ "user": user })).await;
    }
    assert_eq!(guest.socket.expect_close().await.0, 1001);
    ada.expect_nothing().await;
    denied(&server, "a subscription to \"room:private\" is not granted");
    let longest = longest_ping(&mut room, "room:private", 5).await;
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

/// Where the machine's own addresses are listed, the server's own listeners are not.
#[tokio::test]
async fn a_plugin_does_not_reach_the_admin_interface_by_way_of_the_server() {
    let http = "[plugins.hostile.http]\nhosts = [\"localhost:*\", \"127.0.0.1:*\"]\n\
                addresses = [\"127.0.0.0/8\", \"::1\"]\n";
    for (more, is_let) in [("", false), ("own_listeners = true", true)] {
        let server = App::hostile().admin().with(&format!("{http}{more}")).serve();
        let mut mallory = joined(&server, TOPIC).await;
        let port = |address: &str| address.rsplit(':').next().unwrap().to_owned();
        for port in [port(server.admin()), port(server.address())] {
            for host in ["127.0.0.1", "localhost"] {
                let order = json!({ "n": 0, "text": format!("http://{host}:{port}/health") });
                mallory.push(TOPIC, "headers", order).await;
                let answer = mallory.socket.recv_json().await;
                let outcome = answer[4]["response"]["outcome"].as_str().unwrap();
                match is_let {
                    true => assert_eq!(outcome, "200"),
                    false => assert!(outcome.contains("own_listeners would allow it"), "{outcome}"),
                }
            }
        }
    }
}
