//! Text and bytes on one connection, and clients of both versions in one room.

use millrace_tests::TestServer;
use serde_json::json;

#[tokio::test]
async fn text_and_bytes_take_turns_on_one_connection() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    let topic = "room:mixed";
    client.join(topic).await;
    let mut sent = Vec::new();
    for n in 0..10u8 {
        sent.push(client.push_binary(topic, "ping", &[n]).await);
        sent.push(client.push(topic, "ping", json!({ "n": n })).await);
    }
    for (n, pair) in (0..10u8).zip(sent.chunks(2)) {
        let answer = client.socket.recv_binary().await;
        assert_eq!((answer[0], answer.last()), (1, Some(&n)), "{}", answer.escape_ascii());
        let head = format!("11{}{topic}ok", pair[0]);
        assert_eq!(&answer[5..answer.len() - 1], head.as_bytes());
        client.expect_reply(topic, &pair[1], "ok", json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn a_broadcast_is_told_to_each_in_its_own_version() {
    let server = TestServer::shared();
    let topic = "room:versions";
    let mut new = server.client().await;
    new.join(topic).await;
    let mut old = server.v1_socket().await;
    let join = json!({ "topic": topic, "event": "phx_join", "payload": {}, "ref": "1" });
    old.send_json(&join).await;
    assert_eq!(old.recv_json().await["payload"]["status"], "ok");

    let payload = json!({ "text": "for all", "n": 1.5 });
    let shout = new.push(topic, "shout", payload.clone()).await;
    new.expect_broadcast(topic, "shout", payload.clone()).await;
    new.expect_reply(topic, &shout, "ok", json!({})).await;
    let heard = json!({ "topic": topic, "event": "shout", "payload": payload, "ref": null });
    old.expect(heard.clone()).await;

    let shout = json!({ "topic": topic, "event": "shout", "payload": payload, "ref": "2" });
    old.send_json(&shout).await;
    old.expect(heard).await;
    new.expect_broadcast(topic, "shout", payload).await;
}

#[tokio::test]
async fn a_broadcast_of_bytes_passes_over_clients_of_version_1() {
    let server = TestServer::shared();
    let topic = "room:bytes-for-old";
    let (mut alice, mut bob) = (server.client().await, server.client().await);
    alice.join(topic).await;
    bob.join(topic).await;
    let mut old = server.v1_socket().await;
    let join = json!({ "topic": topic, "event": "phx_join", "payload": {}, "ref": "1" });
    old.send_json(&join).await;
    assert_eq!(old.recv_json().await["payload"]["status"], "ok");

    let shout = alice.push_binary(topic, "shout", b"\x01").await;
    let broadcast = [b"\x02\x12\x05" as &[u8], topic.as_bytes(), b"shout\x01"].concat();
    alice.socket.expect_binary(&broadcast).await;
    alice.expect_reply(topic, &shout, "ok", json!({})).await;
    bob.socket.expect_binary(&broadcast).await;

    // The old client is still there, and this is the next it hears.
    let ping = json!({ "topic": topic, "event": "ping", "payload": {}, "ref": "2" });
    old.send_json(&ping).await;
    let answer = old.recv_json().await;
    assert_eq!((&answer["event"], &answer["ref"]), (&json!("phx_reply"), &json!("2")), "{answer}");
}
