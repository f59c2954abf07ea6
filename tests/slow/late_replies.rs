//! Answers by socket ref.

use millrace_tests::App;
use serde_json::json;

use crate::TOPIC;

#[tokio::test]
async fn a_message_is_answered_by_a_later_one_as_often_as_it_likes() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let asked = client.push(TOPIC, "ask", json!({})).await;
    for value in ["once", "twice"] {
        let answer = client.push(TOPIC, "answer", json!({ "value": value })).await;
        client.expect_reply(TOPIC, &asked, "ok", json!({ "value": value })).await;
        client.expect_reply(TOPIC, &answer, "ok", json!({})).await;
    }
}

#[tokio::test]
async fn a_message_is_answered_from_another_connection_until_its_channel_is_gone() {
    let server = App::slow().serve();
    let (mut client, mut other) = (server.client().await, server.client().await);
    client.join(TOPIC).await;
    other.join("slow:b").await;
    let asked = client.push(TOPIC, "my_ref", json!({})).await;
    let answer = client.socket.recv_json().await;
    let order = json!({ "reference": answer[4]["response"]["reference"] });
    other.expect_answer("slow:b", "answer_ref", order.clone(), "ok", json!({})).await;
    client.expect_reply(TOPIC, &asked, "ok", json!({ "from": "elsewhere" })).await;

    let leave = client.push(TOPIC, "phx_leave", json!({})).await;
    client.expect_reply(TOPIC, &leave, "ok", json!({})).await;
    client.expect_closed(TOPIC).await;
    other.expect_answer("slow:b", "answer_ref", order.clone(), "ok", json!({})).await;
    client.expect_nothing().await;
    drop(client);
    other.expect_answer("slow:b", "answer_ref", order, "ok", json!({})).await;
}

#[tokio::test]
async fn a_text_that_is_no_socket_ref_answers_nobody_and_the_log_says_why() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let forged = json!({ "reference": "forged" });
    client.expect_answer(TOPIC, "answer_ref", forged, "ok", json!({})).await;
    server.wait_for_log("what is no socket ref of this server, \"forged\" is not granted", 1);
}

#[tokio::test]
async fn a_message_that_wants_no_reply_has_no_socket_ref() {
    let server = App::slow().serve();
    let mut client = server.client().await;
    client.join(TOPIC).await;
    let join_ref = client.join_ref(TOPIC);
    client.socket.send_json(&json!([join_ref, null, TOPIC, "ask", {}])).await;
    let error = json!({ "reason": "nothing asked" });
    client.expect_answer(TOPIC, "answer", json!({}), "error", error).await;
}
