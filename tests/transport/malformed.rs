//! Frames that are no message of the Phoenix protocol.

use millrace_tests::TestServer;
use serde_json::json;

#[tokio::test]
async fn a_text_that_is_no_message_closes_its_connection_and_no_other() {
    let server = TestServer::shared();
    let mut bystander = server.client().await;
    bystander.join("room:bystander").await;
    for text in [
        "",
        "x",
        "{",
        "[",
        r#"["11","1","room:a","phx_join",{}"#,
        r#"["11","1","room:a","phx_join",{}] x"#,
        "[]",
        r#"["11","1","room:a","phx_join"]"#,
        "null",
        "42",
        r#""text""#,
        // Version 1 on a connection of version 2.
        r#"{"topic":"room:a","event":"phx_join","payload":{},"ref":"1"}"#,
        r#"["11","1",null,"phx_join",{}]"#,
        r#"["11","1",7,"phx_join",{}]"#,
        r#"["11","1",{},"phx_join",{}]"#,
        r#"["11","1","room:a",null,{}]"#,
        r#"["11","1","room:a",["phx_join"],{}]"#,
        r#"[{},"1","room:a","phx_join",{}]"#,
        r#"["11",[],"room:a","phx_join",{}]"#,
        r#"["11","1","room:a","phx_join",nope]"#,
        r#"["11","1","room:\ud800","phx_join",{}]"#,
    ] {
        let mut client = server.client().await;
        client.join("room:bystander").await;
        client.socket.send_text(text).await;
        let (code, reason) = client.socket.expect_close().await;
        assert_eq!(code, 1007, "{text}: {reason}");
        assert_ne!(reason, "", "{text}");
        assert!(reason.len() <= 123, "{text}: {reason}");
        bystander.expect_nothing_from("room:bystander").await;
    }
    let shout = bystander.push("room:bystander", "shout", json!({})).await;
    bystander.expect_broadcast("room:bystander", "shout", json!({})).await;
    bystander.expect_reply("room:bystander", &shout, "ok", json!({})).await;
}

#[tokio::test]
async fn nesting_without_end_is_no_danger() {
    let server = TestServer::shared();
    let mut client = server.client().await;
    client.join("room:nested").await;
    let depth = 1_000_000;
    let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let text = format!(r#"["11","9","room:nested","ping",{nested}]"#);
    client.socket.send_text(text).await;
    // Refused by the server, or by the channel: what counts is that others live on.
    let _ = client.socket.recv().await;
    let mut bystander = server.client().await;
    bystander.join("room:nested").await;
    bystander.expect_nothing_from("room:nested").await;
}
