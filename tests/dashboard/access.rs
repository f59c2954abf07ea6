//! Who may see it.

use millrace_tests::{App, HttpRequest, HttpResponse, TestClient, TestServer, TestSocket};
use serde_json::{Value, json};

const SOCKET: &str = "/dashboard/socket/websocket?vsn=2.0.0";
const TOPIC: &str = "millrace:dashboard";

async fn get(server: &TestServer, path: &str) -> HttpResponse {
    HttpRequest::new("GET", path).send(server.address()).await
}

#[tokio::test]
async fn there_is_none_unless_the_configuration_says_so() {
    let server = TestServer::shared();
    for path in ["/dashboard", "/dashboard/data.json"] {
        assert_eq!(get(&server, path).await.status, 404, "{path}");
    }
    let upgrade = HttpRequest::upgrade(SOCKET).send(server.address()).await;
    assert_eq!(upgrade.status, 404, "{upgrade:?}");
}

#[tokio::test]
async fn its_files_and_its_data_are_served() {
    let server = App::slow().dashboard().serve();
    for (path, media_type) in [
        ("/dashboard/", "text/html"),
        ("/dashboard/style.css", "text/css"),
        ("/dashboard/dashboard.mjs", "text/javascript"),
        ("/dashboard/phoenix.mjs", "text/javascript"),
        ("/dashboard/uplot.js", "text/javascript"),
    ] {
        let response = get(&server, path).await;
        let found = response.header("content-type").unwrap_or_default();
        assert!(response.status == 200 && found.starts_with(media_type), "{path}: {response:?}");
    }
    assert_eq!(get(&server, "/dashboard/other").await.status, 404);
    assert_eq!(get(&server, "/dashboards").await.status, 404);
    let data: Value =
        serde_json::from_str(&get(&server, "/dashboard/data.json").await.body).unwrap();
    assert!(data["samples"].is_array(), "{data}");
}

#[tokio::test]
async fn it_lives_on_a_socket_of_its_own() {
    let server = App::slow().dashboard().serve();
    let mut app = server.client().await;
    let join = app.send_join(TOPIC, json!({})).await;
    app.expect_unmatched(TOPIC, &join).await;

    let mut page = TestClient::over(TestSocket::connect(server.address(), SOCKET).await);
    let join = page.send_join("slow:a", json!({})).await;
    page.expect_unmatched("slow:a", &join).await;
    let join = page.send_join(TOPIC, json!({})).await;
    let reply = page.socket.recv_json().await;
    assert_eq!(
        (&reply[1], &reply[3], &reply[4]["status"]),
        (&json!(join), &json!("phx_reply"), &json!("ok"))
    );
    assert!(reply[4]["response"]["samples"].is_array(), "{reply}");
    let snapshot = page.socket.recv_json().await;
    assert_eq!((&snapshot[2], &snapshot[3]), (&json!(TOPIC), &json!("snapshot")));
    // Who looks is not counted.
    assert_eq!(snapshot[4]["sample"]["connections"], json!(1.0));
    assert_eq!(snapshot[4]["channels"], json!({ "slow:*": 0.0 }));
    let refused = page.push(TOPIC, "anything", json!({})).await;
    let reason = json!({ "reason": "the dashboard takes no messages" });
    page.expect_reply(TOPIC, &refused, "error", reason).await;
}

#[tokio::test]
async fn a_token_keeps_others_out() {
    let server = App::slow().dashboard().with("[dashboard]\ntoken = \"a b\"").serve();
    for (query, status) in [("", 403), ("?token=", 403), ("?token=a", 403), ("?token=a%20b", 200)] {
        let path = format!("/dashboard/data.json{query}");
        assert_eq!(get(&server, &path).await.status, status, "{path}");
    }
    // The page has nothing to hide, and says what is missing.
    assert_eq!(get(&server, "/dashboard/").await.status, 200);
    let refused = HttpRequest::upgrade(SOCKET).send(server.address()).await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let path = format!("{SOCKET}&token=a+b");
    let accepted = HttpRequest::upgrade(&path).send(server.address()).await;
    assert_eq!(accepted.status, 101, "{accepted:?}");
}

#[tokio::test]
async fn the_token_becomes_a_cookie_and_leaves_the_address() {
    let server = App::slow().dashboard().with("[dashboard]\ntoken = \"a b\"").serve();
    let asked = get(&server, "/dashboard?token=a%20b").await;
    let location = asked.header("location");
    assert_eq!((asked.status, location), (303, Some("dashboard/?token=a%20b")));
    let opened = get(&server, "/dashboard/?token=a%20b").await;
    assert_eq!((opened.status, opened.header("location")), (303, Some("./")));
    let cookie = opened.header("set-cookie").unwrap();
    // Without a path it is for what is below the page.
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains("Path="), "{cookie}");
    let (cookie, _) = cookie.split_once(';').unwrap();
    for (cookie, data, socket) in [(cookie, 200, 101), ("millrace_dashboard=a b", 403, 403)] {
        let request = HttpRequest::new("GET", "/dashboard/data.json").header("Cookie", cookie);
        assert_eq!(request.send(server.address()).await.status, data, "{cookie}");
        let upgrade = HttpRequest::upgrade(SOCKET).header("Cookie", cookie);
        assert_eq!(upgrade.send(server.address()).await.status, socket, "{cookie}");
    }
    let wrong = get(&server, "/dashboard/?token=a").await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (200, None));
}

#[tokio::test]
async fn the_page_runs_its_own_scripts_alone_and_is_in_no_other() {
    let server = App::slow().dashboard().serve();
    let page = get(&server, "/dashboard/").await;
    let policy = page.header("content-security-policy").unwrap();
    for directive in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
        assert!(policy.contains(directive) && !policy.contains("unsafe"), "{policy}");
    }
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
}
