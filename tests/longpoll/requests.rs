//! The requests and their answers, as a Phoenix server gives them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use millrace_tests::{App, HttpRequest, HttpResponse, TestServer};
use serde_json::{Value, json};

use crate::client::{Client, NDJSON, only};

fn get(path: &str) -> HttpRequest {
    HttpRequest::new("GET", path)
}

#[tokio::test]
async fn every_answer_is_200_with_json_that_no_cache_keeps() {
    let server = TestServer::shared();
    let client = Client::connect(&server).await;
    let answers = [
        client.send(&get("/socket/longpoll?vsn=2.0.0")).await,
        client.send(&get("/socket/longpoll?vsn=9.9.9")).await,
        client.send(&client.batch("")).await,
    ];
    for (answer, status) in answers.iter().zip([410, 403, 200]) {
        let header = |name| answer.header(name);
        assert_eq!((answer.status, &answer.json()["status"]), (200, &json!(status)), "{answer:?}");
        assert_eq!(header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(header("cache-control"), Some("no-store"));
        assert_eq!(header("access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn a_request_without_a_token_makes_a_session() {
    let server = TestServer::shared();
    for query in ["?vsn=2.0.0", "?vsn=2.0.0&", "?vsn=2.0.0&token=", "?vsn=2.0.0&token=of-the-app"] {
        let answer = get(&format!("/socket/longpoll{query}")).send(server.address()).await.json();
        let token = answer["token"].as_str().expect("a token");
        assert_eq!(answer, json!({ "status": 410, "token": token, "messages": [] }), "{query}");
    }
}

#[tokio::test]
async fn what_is_sent_is_answered_by_a_poll() {
    let server = TestServer::shared();
    let mut client = Client::connect(&server).await;
    client.push("room:lp", "phx_join", json!({})).await;
    let answer = client.poll().await;
    let token = client.token.clone();
    let joined = r#"["1","1","room:lp","phx_reply",{"status":"ok","response":{}}]"#;
    let messages: Vec<Value> = answer["messages"].as_array().unwrap().clone();
    assert_eq!((&answer["status"], &answer["token"]), (&json!(200), &json!(token)), "{answer}");
    assert_eq!(messages.len(), 1);
    let (found, expected): (Value, Value) = (
        serde_json::from_str(messages[0].as_str().unwrap()).unwrap(),
        serde_json::from_str(joined).unwrap(),
    );
    assert_eq!(found, expected);
    client.push("room:lp", "ping", json!({ "text": "Grüße, \"世界\"\n" })).await;
    client.expect_reply("ok", json!({ "text": "Grüße, \"世界\"\n" })).await;
    client.push("room:lp", "push_me", json!({ "n": 1 })).await;
    client.expect_event("pushed", json!({ "n": 1 })).await;
}

#[tokio::test]
async fn a_token_may_come_in_a_header_which_goes_before_the_query() {
    let server = TestServer::shared();
    let mut client = Client::connect(&server).await;
    let line = client.line("phoenix", "heartbeat", &json!({}));
    for path in ["/socket/longpoll?vsn=2.0.0", "/socket/longpoll?vsn=2.0.0&token=none"] {
        let post = HttpRequest::new("POST", path).body(NDJSON, &line);
        assert_eq!(post.send(server.address()).await.json(), only(410));
        let post = post.header("X-Phoenix-LongPoll-Token", &client.token);
        assert_eq!(post.send(server.address()).await.json(), only(200));
    }
    client.expect_reply("ok", json!({})).await;
}

#[tokio::test]
async fn a_batch_has_a_message_on_each_line() {
    let server = TestServer::shared();
    let mut client = Client::connect(&server).await;
    let join = client.line("room:lp-batch", "phx_join", &json!({}));
    let pings: Vec<_> =
        (0..99).map(|n| client.line("room:lp-batch", "ping", &json!({ "n": n }))).collect();
    let batch = format!("{join}\r\n{}\n", pings.join("\n"));
    assert_eq!(client.post(&batch).await, only(200));
    for n in -1..99 {
        let response = if n < 0 { json!({}) } else { json!({ "n": n }) };
        assert_eq!(client.next().await[4]["response"], response);
    }
}

#[tokio::test]
async fn other_lines_are_binary_messages() {
    let server = TestServer::shared();
    let mut client = Client::connect(&server).await;
    client.join("room:lp-binary").await;
    let mut listener = server.client().await;
    listener.join("room:lp-binary").await;
    let parts = ["1", "7", "room:lp-binary", "shout"];
    let mut frame = vec![0];
    frame.extend(parts.iter().map(|part| u8::try_from(part.len()).unwrap()));
    parts.iter().for_each(|part| frame.extend(part.as_bytes()));
    frame.extend([0, 255, 7]);
    assert_eq!(client.post(&STANDARD.encode(&frame)).await, only(200));
    // The broadcast is binary, too: a WebSocket hears it, and a client that polls does not.
    let heard = listener.socket.recv_binary().await;
    assert!(heard.ends_with(&[0, 255, 7]), "{heard:?}");
    assert_eq!(client.next().await[4], json!({ "status": "ok", "response": {} }));
    client.expect_nothing().await;
}

#[tokio::test]
async fn version_1_is_one_message_in_a_body() {
    let server = TestServer::shared();
    for query in ["vsn=1.0.0", "a=b"] {
        let mut client = Client::with_query(&server, query).await;
        let join = json!({ "topic": "room:lp-1", "event": "phx_join", "payload": {}, "ref": "1" });
        for content_type in ["application/json", "text/plain;charset=UTF-8"] {
            let post =
                HttpRequest::new("POST", &client.path()).body(content_type, &join.to_string());
            assert_eq!(client.send(&post).await.json(), only(200));
            let reply = client.next().await;
            let response = json!({ "status": "ok", "response": {} });
            assert_eq!((&reply["event"], &reply["payload"]), (&json!("phx_reply"), &response));
            if content_type != "application/json" {
                // The topic was joined twice.
                assert_eq!(client.next().await["event"], "phx_close");
            }
        }
    }
}

#[tokio::test]
async fn pages_of_others_may_ask_whether_they_may_ask() {
    let server = TestServer::shared();
    let request = HttpRequest::new("OPTIONS", "/socket/longpoll?vsn=2.0.0")
        .header("Origin", "https://elsewhere.example")
        .header("Access-Control-Request-Headers", "x-phoenix-authtoken, content-type");
    let answer = request.send(server.address()).await;
    let header = |name| answer.header(name);
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(header("access-control-allow-origin"), Some("*"));
    assert_eq!(header("access-control-allow-headers"), Some("x-phoenix-authtoken, content-type"));
    assert_eq!(header("access-control-allow-methods"), Some("get, post, options"));
    assert_eq!(header("access-control-max-age"), Some("3600"));
}

#[tokio::test]
async fn other_methods_are_refused_with_nothing_that_is_json() {
    let server = TestServer::shared();
    for method in ["PUT", "DELETE", "PATCH"] {
        let answer = HttpRequest::new(method, "/socket/longpoll").send(server.address()).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{method}");
    }
}

#[tokio::test]
async fn the_origin_is_checked_on_every_request() {
    let server = App::probe().serve();
    let client = Client::connect(&server).await;
    let from = |request: HttpRequest| request.header("Origin", "https://evil.example");
    for request in [get("/socket/longpoll?vsn=2.0.0"), client.get(), client.batch("[]")] {
        let answer = client.send(&from(request)).await;
        assert_eq!((answer.status, answer.json()), (200, only(403)));
    }
    let own = format!("http://{}", server.address());
    let answer = client.send(&client.batch("").header("Origin", &own)).await;
    assert_eq!(answer.json(), only(200));
    server.wait_for_log("refused a page of this origin", 1);
}

#[tokio::test]
async fn a_plugin_decides_who_connects_and_knows_the_user() {
    let server = App::slow().admin().serve();
    let mut client = Client::with_query(&server, "vsn=2.0.0&user=ada").await;
    client.join("slow:a").await;
    let sockets = get("/sockets?user=ada").send(server.admin()).await;
    assert_eq!(sockets.json()["count"], 1, "{sockets:?}");
}

fn assert_no_json(answer: &HttpResponse, status: u16) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(serde_json::from_str::<Value>(&answer.body).is_err(), "{answer:?}");
}

#[tokio::test]
async fn what_is_refused_has_a_body_that_phoenix_js_survives() {
    let server = TestServer::shared();
    let client = Client::connect(&server).await;
    for (body, status) in [
        ("*", 400),
        ("[]\nA", 400),
        (&*"[]\n".repeat(101), 413),
        (&*"\n".repeat(101), 413),
        (&*format!("[{}]", "1".repeat(8_000_000)), 413),
    ] {
        assert_no_json(&client.send(&client.batch(body)).await, status);
    }
    let not_there = get("/socket/longpolls").send(server.address()).await;
    assert_no_json(&not_there, 404);
    let elsewhere = get("/socket/longpoll").header("Host", "evil.example");
    assert_no_json(&elsewhere.send(server.address()).await, 403);
    // Nothing of these batches was taken, and the session goes on.
    assert_eq!(client.post("").await, only(200));
}

#[tokio::test]
async fn it_may_be_switched_off() {
    let server = App::probe().with("[longpoll]\nenabled = false").serve();
    let answer = get("/socket/longpoll?vsn=2.0.0").send(server.address()).await;
    assert_no_json(&answer, 404);
    for words in ["/socket/websocket", "longPollFallbackMs", "longpoll.enabled"] {
        assert!(answer.body.contains(words), "{answer:?}");
    }
    server.wait_for_log("longPollFallbackMs", 1);
}

#[tokio::test]
async fn it_is_where_the_socket_is_mounted() {
    let server = App::probe().with("[socket]\npath = \"/live\"").serve();
    let answer = get("/live/longpoll?vsn=2.0.0").send(server.address()).await;
    assert_eq!(answer.json()["status"], 410);
    assert_no_json(&get("/socket/longpoll").send(server.address()).await, 404);
}
