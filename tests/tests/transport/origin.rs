//! `check_origin`: which pages may connect.

use millrace_tests::{HttpRequest, TestServer};

/// Asks for a WebSocket from a page of each origin and checks the answers.
async fn check(server: &TestServer, origins: &[(&str, u16)]) {
    for (origin, status) in origins {
        let request = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0").header("Origin", origin);
        let response = request.send(server.address()).await;
        assert_eq!(response.status, *status, "{origin}: {response:?}");
    }
}

#[tokio::test]
async fn by_default_a_page_may_connect_to_the_host_it_came_from() {
    let server = TestServer::shared();
    let own = format!("http://{}", server.address());
    check(
        &server,
        &[
            (&own, 101),
            // The host counts, not scheme and port.
            ("https://127.0.0.1:1", 101),
            ("http://127.0.0.1", 101),
            ("http://localhost", 403),
            ("http://evil.example", 403),
            ("http://127.0.0.1.evil.example", 403),
            ("http://evil.example/127.0.0.1", 403),
            ("null", 403),
            ("", 403),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_host_is_the_one_the_request_is_for() {
    let server = TestServer::shared();
    let request = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0")
        .header("Host", "chat.example:4000")
        .header("Origin", "https://CHAT.example");
    let response = request.send(server.address()).await;
    assert_eq!(response.status, 101, "{response:?}");
}

#[tokio::test]
async fn no_check_lets_every_page_connect() {
    let server = TestServer::with_config("[socket]\ncheck_origin = false");
    check(&server, &[("http://evil.example", 101), ("null", 101)]).await;
}

#[tokio::test]
async fn a_list_names_the_pages_that_may_connect() {
    let server = TestServer::with_config(
        r#"
        [socket]
        check_origin = [
            "https://example.com", "//another.com:888", "//*.other.com", "http://local:4000",
        ]
        "#,
    );
    let own = format!("http://{}", server.address());
    check(
        &server,
        &[
            ("https://example.com", 101),
            ("https://example.com:8443", 101),
            ("http://example.com", 403),
            ("https://www.example.com", 403),
            ("https://example.com.evil.example", 403),
            ("http://another.com:888", 101),
            ("https://another.com:888", 101),
            ("https://another.com", 403),
            ("http://org1.other.com", 101),
            ("https://a.b.other.com:77", 101),
            ("https://other.com", 101),
            ("https://prefix-other.com", 403),
            ("http://local:4000", 101),
            ("http://local:4001", 403),
            ("null", 403),
            (&own, 403),
        ],
    )
    .await;
    // Without an origin there is no page.
    server.client().await.expect_nothing().await;
}
