//! What a server logs: one message can be followed, and no secret is told.

use millrace_tests::{App, TestClient, TestServer, TestSocket};
use serde_json::{Value, json};

fn logging(level: &str) -> App {
    App::slow().environment("RUST_LOG", level)
}

/// The log as objects.
fn lines(server: &TestServer) -> Vec<Value> {
    let parsed = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
    server.log().lines().map(parsed).collect()
}

#[tokio::test]
async fn one_message_is_followed_by_its_id_from_frame_to_reply() {
    let server = logging("debug").arguments(&["--log", "json"]).serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    for value in ["first", "second"] {
        let order = json!({ "value": value });
        client.expect_answer("slow:a", "log", order, "ok", json!({})).await;
    }
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let lines = lines(&server);
    let of_event = |event: &str| {
        let of = |line: &&Value| line["fields"]["event"] == event;
        lines.iter().filter(of).map(|line| line["fields"]["id"].clone()).collect::<Vec<_>>()
    };
    let ids = of_event("log");
    let [first, first_end, second, second_end] = ids.as_slice() else { panic!("{ids:?}") };
    assert!(first == first_end && second == second_end && first != second, "{ids:?}");
    let about = |id: &Value| {
        let of = |line: &&Value| line["fields"]["id"] == *id;
        let message = |line: &Value| line["fields"]["message"].as_str().unwrap().to_owned();
        lines.iter().filter(of).map(message).collect::<Vec<_>>()
    };
    assert_eq!(about(first), ["received", "first", "handled"]);
    assert_eq!(about(second), ["received", "second", "handled"]);
    // What the plugin logs is inside the span of its call.
    let said = lines.iter().find(|line| line["fields"]["message"] == "second").unwrap();
    assert_eq!(said["span"]["id"], *second, "{said}");
}

#[tokio::test]
async fn the_lines_of_one_message_can_be_asked_for() {
    let server = logging("warn,[call{id=1-2}]=info").arguments(&["--log", "json"]).serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    for value in ["wanted", "unwanted"] {
        let order = json!({ "value": value });
        client.expect_answer("slow:a", "log", order, "ok", json!({})).await;
    }
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let lines = lines(&server);
    let said: Vec<_> = lines.iter().map(|line| &line["fields"]["message"]).collect();
    assert!(said.contains(&&json!("wanted")) && !said.contains(&&json!("unwanted")), "{said:?}");
}

#[tokio::test]
async fn a_plugins_lines_have_the_id_without_debugging_too() {
    let server = logging("info").arguments(&["--log", "json"]).serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    client.expect_answer("slow:a", "log", json!({ "value": "hello" }), "ok", json!({})).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let lines = lines(&server);
    let said = lines.iter().find(|line| line["fields"]["message"] == "hello").unwrap();
    assert_eq!((&said["fields"]["plugin"], &said["fields"]["id"]), (&json!("slow"), &json!("1-2")));
}

#[tokio::test]
async fn an_error_of_a_handler_is_told_and_the_parsers_steps_are_not() {
    let server = logging("debug").arguments(&["--log", "json"]).serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    let reason = json!({ "reason": "nothing asked" });
    client.expect_answer("slow:a", "answer", json!({}), "error", reason).await;
    client.expect_answer("slow:a", "log", json!({ "value": "hello" }), "ok", json!({})).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let lines = lines(&server);
    let of = |message: &str, event: &str| {
        let of = |line: &&Value| {
            line["fields"]["message"] == message && line["fields"]["event"] == event
        };
        let line = lines.iter().find(of);
        line.unwrap_or_else(|| panic!("{message:?} of {event:?} in {lines:?}")).clone()
    };
    let error = of("answered with an error", "answer");
    assert_eq!((&error["level"], &error["fields"]["plugin"]), (&json!("DEBUG"), &json!("slow")));
    assert_eq!(error["fields"]["reply"], r#"{"reason":"nothing asked"}"#);
    let handled = of("handled", "answer");
    assert_eq!(handled["fields"]["id"], error["fields"]["id"]);
    assert_eq!(handled["fields"]["ok"], false);
    assert_eq!(of("handled", "log")["fields"]["ok"], true);
    for event in ["answer", "log"] {
        assert_ne!(of("handled", event)["fields"]["took"], "0ns");
    }
    for line in &lines {
        let target = line["target"].as_str().unwrap();
        assert!(target.starts_with("millrace") || line["level"] != "DEBUG", "{line}");
    }
}

#[tokio::test]
async fn what_a_plugin_prints_is_told_with_its_message() {
    let server = logging("debug").arguments(&["--log", "json"]).serve();
    let mut client = server.client().await;
    client.join("slow:a").await;
    for value in ["first\nsecond", "third"] {
        let order = json!({ "value": value });
        client.expect_answer("slow:a", "print", order, "ok", json!({})).await;
    }
    let order = json!({ "value": "last words", "user": "crash" });
    client.push("slow:a", "print", order).await;
    client.expect_crashed("slow:a").await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let lines = lines(&server);
    let printed = |line: &&Value| line["target"] == "millrace::prints";
    let printed: Vec<_> = lines.iter().filter(printed).map(|line| &line["fields"]).collect();
    let said: Vec<_> = printed.iter().map(|fields| &fields["message"]).collect();
    assert_eq!(said, ["first", "second", "and an error", "third", "and an error"]);
    let ids: Vec<_> = printed.iter().map(|fields| fields["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["1-2", "1-2", "1-2", "1-3", "1-3"]);
    // A fault has what its own call has printed, and of no other.
    let fault = lines.iter().map(Value::to_string).find(|line| line.contains("last words"));
    assert!(fault.is_some_and(|line| !line.contains("third")), "{lines:?}");
}

#[tokio::test]
async fn secrets_are_filtered() {
    let server = logging("debug").arguments(&[]).serve();
    let path = "/socket/websocket?vsn=2.0.0&user_token=hunter1&user=ada";
    let mut client = TestClient::over(TestSocket::connect(server.address(), path).await);
    let params = json!({ "password": "hunter2" });
    let join = client.send_join("slow:a", params).await;
    client.expect_reply("slow:a", &join, "ok", json!({})).await;
    let order = json!({ "value": "x", "deep": [{ "Client_Secret": "hunter3" }] });
    client.expect_answer("slow:a", "ping", order, "ok", json!({})).await;
    drop(client);
    assert_eq!(server.terminate().code(), Some(0));
    let log = server.log();
    assert!(!log.contains("hunter"), "{log}");
    assert!(log.matches("[FILTERED]").count() >= 3, "{log}");
    assert!(log.contains(r#""user":"ada""#), "{log}");
}
