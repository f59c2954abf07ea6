//! Which tokens are taken, and what the others get.

use std::collections::BTreeSet;

use millrace_tests::PATIENCE;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::*;

#[tokio::test]
async fn a_client_is_who_its_token_says() {
    let server = contract().serve();
    let response = shows(&server, VECTOR).await;
    assert_eq!(response.status, 101, "{response:?}");
    assert_eq!(response.header("sec-websocket-protocol"), Some("phoenix"), "{response:?}");
    let mut ada = client(&server, VECTOR).await;
    ada.join("room:tokens").await;
    let token = hs256(KEY, json!({"sub": "bob", "aud": "millrace", "exp": FAR}));
    let mut bob = client(&server, &token).await;
    bob.join("room:tokens").await;
    for (who, user, claims) in [
        (&mut ada, "ada", json!("ada")),
        (&mut bob, "bob", json!({"sub": "bob", "aud": "millrace", "exp": FAR})),
    ] {
        let answer = json!({"user": user, "claims": claims});
        who.expect_answer("room:tokens", "who", json!({}), "ok", answer).await;
    }
    let users = users(&server).await;
    assert!(users.contains(&json!("ada")) && users.contains(&json!("bob")), "{users:?}");
    // A user is found by that id, as by one that a plugin gives.
    let disconnect = HttpRequest::new("POST", "/disconnect");
    let disconnect = disconnect.body("application/json", "{\"user\": \"bob\"}");
    assert_eq!(disconnect.send(server.admin()).await.status, 200);
    assert_eq!(bob.socket.expect_close().await.0, 1001);
}

#[tokio::test]
async fn the_user_id_of_a_plugin_wins_and_that_of_the_token_stays_without_one() {
    let auth = format!("[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = \"{KEY}\"\n");
    let auth = format!("[auth]\nparam = \"jwt\"\n{auth}");
    let server = App::slow().admin().with(&auth).serve();
    let token = hs256(KEY, json!({"sub": "ada", "name": "Ada L.", "exp": FAR}));
    for (user, expected) in [("", "ada"), ("&user=eve", "eve"), ("&by_name", "Ada L.")] {
        let path = format!("{PATH}&jwt={token}{user}");
        let mut client = TestClient::over(TestSocket::connect(server.address(), &path).await);
        client.join("slow:a").await;
        assert_eq!(users(&server).await, [json!(expected)]);
        client.leave("slow:a").await;
        let close = json!({ "user": expected }).to_string();
        let disconnect = HttpRequest::new("POST", "/disconnect").body("application/json", &close);
        disconnect.send(server.admin()).await;
        client.socket.expect_close().await;
        millrace_tests::eventually("nobody is connected", async || {
            users(&server).await.is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn who_need_not_show_a_token_is_nobody_without_one() {
    let server = with_jwt("[auth]\nrequired = false").serve();
    let mut nobody = server.client().await;
    nobody.join("room:nobody").await;
    assert_eq!(users(&server).await, [json!(null)]);
    let answer = json!({"user": null, "claims": null});
    nobody.expect_answer("room:nobody", "who", json!({}), "ok", answer).await;
    let old = hs256(KEY, json!({"sub": "ada", "exp": 1}));
    assert_eq!(shows(&server, &old).await.status, 403);
}

/// Waits until each of these reasons has been counted.
async fn counted(statsd: &UdpSocket, reasons: impl Iterator<Item = &'static str>) {
    let mut awaited: BTreeSet<_> = reasons.collect();
    let counting = async {
        let mut buffer = vec![0; 65_536];
        while !awaited.is_empty() {
            let length = statsd.recv(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            awaited.retain(|reason| !text.contains(&format!("auth.refused.{reason}:")));
        }
    };
    let is_counted = timeout(PATIENCE, counting).await.is_ok();
    assert!(is_counted, "not counted: {awaited:?}");
}

#[tokio::test]
async fn every_other_token_gets_403_without_a_word_and_is_counted() {
    let statsd = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let public = rcgen::KeyPair::generate().unwrap().public_key_pem();
    let app = with_jwt(
        "[auth]\nparam = \"jwt\"\n[auth.jwt]\naudiences = [\"millrace\"]\nissuers = [\"https://id\"]",
    );
    // What the log may show is what it shows at its most talkative.
    let app = app.environment("RUST_LOG", "debug");
    let app = app.with(&format!(
        "[[auth.jwt.keys]]\nalgorithm = \"ES256\"\nkid = \"public\"\npublic_key = '''\n{public}'''\n\
         [socket]\nmax_connects_per_second = 0"
    ));
    let server = app.statsd(&statsd.local_addr().unwrap().to_string()).serve();
    let right = json!({"sub": "ada", "aud": "millrace", "iss": "https://id", "exp": FAR});
    let with = |name: &str, value: Value| {
        let mut claims = right.clone();
        claims[name] = value;
        hs256(KEY, claims)
    };
    let none = jwt(json!({"alg": "none"}), right.clone(), |_| Vec::new());
    let header = json!({"alg": "HS256", "kid": "public"});
    let confused = jwt(header, right.clone(), |message| mac(&public, message));
    let long = with("sub", json!("x".repeat(256)));
    let refused = [
        (hs256("another key of no less than 32 bytes", right.clone()), "bad_signature"),
        (none, "wrong_algorithm"),
        (confused, "wrong_algorithm"),
        (with("exp", json!(now_s() - 3_600)), "expired"),
        (with("nbf", json!(FAR)), "not_yet_valid"),
        (with("aud", json!("others")), "wrong_audience"),
        (with("iss", json!("https://evil")), "wrong_issuer"),
        (with("exp", json!("tomorrow")), "bad_claim"),
        (long, "bad_user_id"),
        (VECTOR.to_owned(), "kind_not_accepted"),
        ("no token at all".to_owned(), "malformed"),
        ("x".repeat(9_000), "too_large"),
    ];
    for (token, reason) in &refused {
        let response = shows(&server, token).await;
        assert_eq!((response.status, response.body.as_str()), (403, ""), "{reason}: {response:?}");
    }
    for protocols in [None, Some("phoenix"), Some("phoenix, base64url.bearer.phx.&")] {
        let request = HttpRequest::upgrade(PATH);
        let request = match protocols {
            Some(protocols) => request.header("Sec-WebSocket-Protocol", protocols),
            None => request,
        };
        let response = request.send(server.address()).await;
        assert_eq!((response.status, response.body.as_str()), (403, ""), "{protocols:?}");
    }
    let right = hs256(KEY, right);
    assert_eq!(shows(&server, &right).await.status, 101);
    let request = HttpRequest::upgrade(&format!("{PATH}&jwt={right}"));
    assert_eq!(request.send(server.address()).await.status, 101);
    counted(&statsd, refused.iter().map(|(_, reason)| *reason).chain(["missing"])).await;
    assert!(server.log().contains("refused a client: the token has expired"), "no reasons");
    assert!(!server.log().contains("eyJ"), "the log has a part of a token");
}
