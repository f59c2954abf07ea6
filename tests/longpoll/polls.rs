//! Polls that wait, that are lost, and that come to a session that has gone.

use millrace_tests::{App, HttpRequest, TestServer, eventually};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Client, only};

/// A server whose sessions have short windows.
fn app() -> App {
    App::probe().with("[longpoll]\nwindow_ms = 100")
}

/// Begins a poll on a connection of its own, whose answer is not read.
async fn begin_poll(server: &TestServer, client: &Client, receive_bytes: u32) -> TcpStream {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(receive_bytes).unwrap();
    let mut tcp = tcp.connect(server.address().parse().unwrap()).await.unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", client.path());
    tcp.write_all(request.as_bytes()).await.unwrap();
    tcp
}

#[tokio::test]
async fn a_poll_waits_for_the_window_and_no_longer() {
    let server = app().serve();
    let mut client = Client::connect(&server).await;
    let token = client.token.clone();
    let answer = client.poll().await;
    assert_eq!(answer, json!({ "status": 204, "token": token, "messages": [] }));
    client.join("room:a").await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_waiting_poll_gets_what_comes_meanwhile() {
    let server = TestServer::shared();
    let mut client = Client::connect(&server).await;
    client.join("room:lp-waits").await;
    let mut speaker = server.client().await;
    speaker.join("room:lp-waits").await;
    let get = client.get();
    let (answer, ()) = tokio::join!(client.send(&get), async {
        let shout = speaker.push("room:lp-waits", "shout_others", json!({ "n": 1 })).await;
        speaker.expect_reply("room:lp-waits", &shout, "ok", json!({})).await;
    });
    client.take(&answer.json());
    client.expect_event("shout_others", json!({ "n": 1 })).await;
}

#[tokio::test]
async fn a_second_poll_ends_the_first_with_204() {
    let server = TestServer::shared();
    let mut client = Client::connect(&server).await;
    client.join("room:lp-second").await;
    let poll = client.waiting_poll().await;
    client.push("phoenix", "heartbeat", json!({})).await;
    client.take(&poll.await.json());
    client.expect_reply("ok", json!({})).await;
}

#[tokio::test]
async fn a_poll_that_is_cut_off_before_its_answer_loses_nothing() {
    let server = app().serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    for n in 0..10 {
        drop(client.waiting_poll().await);
        // The next poll takes the place of one whose end the server has not noticed yet.
        client.poll().await;
        client.push("room:a", "ping", json!({ "n": n })).await;
        client.expect_reply("ok", json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_gives_its_messages_to_the_next_poll() {
    let server = App::probe()
        .with("[longpoll]\nwindow_ms = 15000\n[socket]\noutbox_bytes = 16_000_000")
        .serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    let mut speaker = server.client().await;
    speaker.join("room:a").await;
    // Far more than a connection holds whose client does not read.
    let text = "x".repeat(8_000_000);
    let poll = begin_poll(&server, &client, 4096).await;
    let shout = speaker.push("room:a", "shout_others", json!({ "text": text })).await;
    speaker.expect_reply("room:a", &shout, "ok", json!({})).await;
    // Another poll waits behind the answer that is being written.
    let get = client.get();
    let (answer, ()) = tokio::join!(client.send(&get), async {
        let is_being_written = async || {
            let mut byte = [0];
            (poll.peek(&mut byte).await.unwrap_or_default() == 1).then_some(())
        };
        eventually("the answer begins", is_being_written).await;
        drop(poll);
    });
    client.take(&answer.json());
    client.expect_event("shout_others", json!({ "text": text })).await;
    client.expect_nothing().await;
}

#[tokio::test]
async fn a_session_ends_when_it_is_not_polled() {
    let server = app().serve();
    let mut client = Client::connect(&server).await;
    client.join("room:a").await;
    let token = client.token.clone();
    let is_over = async || {
        let line = client.line("phoenix", "heartbeat", &json!({}));
        let answer = client.send(&client.batch(&line)).await;
        // Sending alone does not keep it.
        (answer.json() == only(410)).then_some(())
    };
    eventually("the session ends", is_over).await;
    let answer = client.poll().await;
    assert_eq!((&answer["status"], &answer["messages"]), (&json!(410), &json!([])), "{answer}");
    assert_ne!(client.token, token);
}

#[tokio::test]
async fn a_dead_token_makes_no_session_until_the_new_one_is_used() {
    let (first, second) = (app().serve(), app().admin().serve());
    let mut client = Client::connect(&first).await;
    let sockets = async || {
        let answer = HttpRequest::new("GET", "/sockets").send(second.admin()).await;
        answer.json()["count"].as_u64().unwrap()
    };
    // The token of another server is as good as one of this server's last run.
    let path = client.path();
    let asked = async || HttpRequest::new("GET", &path).send(second.address()).await.json();
    let answer = asked().await;
    assert_eq!((&answer["status"], &answer["messages"]), (&json!(410), &json!([])), "{answer}");
    assert_eq!(sockets().await, 0, "nobody has asked for the session yet");
    // As older versions of phoenix.js do, it goes on with the new token: both requests at once.
    client = Client::connect(&second).await;
    client.token = answer["token"].as_str().unwrap().to_owned();
    let line = client.line("phoenix", "heartbeat", &json!({}));
    let (get, post) = (client.get(), client.batch(&line));
    let (polled, posted) = tokio::join!(client.send(&get), client.send(&post));
    assert_eq!(posted.json(), only(200));
    if polled.json()["status"] == 200 {
        client.take(&polled.json());
    }
    client.expect_reply("ok", json!({})).await;
}

#[tokio::test]
async fn a_post_of_nobody_is_gone() {
    let server = TestServer::shared();
    for query in ["", "?token=", "?token=none", "?vsn=2.0.0"] {
        let post = HttpRequest::new("POST", &format!("/socket/longpoll{query}"));
        let answer = post.body("application/x-ndjson", "[]").send(server.address()).await;
        assert_eq!(answer.json(), only(410), "{query}");
    }
}
