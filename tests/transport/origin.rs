//! `check_origin`: which pages may connect.

use millrace_tests::{App, HttpRequest, TestServer};

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

/// Asks for a WebSocket of a host from a page of an origin.
async fn ask(server: &TestServer, host: &str, origin: &str) -> u16 {
    let request = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0").header("Host", host);
    request.header("Origin", origin).send(server.address()).await.status
}

#[tokio::test]
async fn the_host_is_the_one_the_request_is_for_or_one_that_leads_here() {
    let hosts = "hosts = [\"chat.example\", \"*.live.example\", \"[2001:DB8::1]\"]";
    let server = App::probe().with(&format!("[socket]\n{hosts}")).serve();
    let own = server.address();
    for (host, origin, status) in [
        ("chat.example:4000", "https://CHAT.example", 101),
        // A proxy that does not hand Host on.
        (own, "https://chat.example", 101),
        (own, "https://a.live.example:8443", 101),
        ("[2001:db8::1]:4000", "http://[2001:db8::1]", 101),
        ("[::1]:4000", "http://[::1]:80", 101),
        (own, "https://evil.example", 403),
        ("chat.example", "https://evil.example", 403),
        ("evil.example", "https://chat.example", 403),
    ] {
        assert_eq!(ask(&server, host, origin).await, status, "{host} {origin}");
    }
}

#[tokio::test]
async fn a_refusal_says_what_was_compared_and_what_to_set() {
    let server = App::probe().serve();
    let request = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
    let refused = request.header("Origin", "https://chat.example").send(server.address()).await;
    let told =
        "pages of \"https://chat.example\" may not connect; list it in socket.check_origin\n";
    assert_eq!((refused.status, refused.body.as_str()), (403, told));
    server.wait_for_log("refused a page of this origin", 1);
    let log = server.log();
    let host = format!("host={:?}", server.address());
    for words in ["https://chat.example", &host, "proxy_set_header Host", "socket.hosts"] {
        assert!(log.contains(words), "{words} is not in {log}");
    }
}

#[tokio::test]
async fn on_loopback_a_name_that_was_made_to_lead_here_is_refused() {
    let server = App::probe().with("[dashboard]\nenabled = true\n").serve();
    for host in ["evil.example", "evil.example:4000", "localhost.evil.example", "10.0.0.1", ""] {
        let request = |path| HttpRequest::new("GET", path).header("Host", host);
        for path in ["/", "/dashboard/", "/pipelines/x/events", "/socket/longpoll"] {
            let response = request(path).send(server.address()).await;
            assert_eq!(response.status, 403, "{host} {path}: {response:?}");
            let told =
                format!("does not know the host {host:?}; if clients use this name, set it as");
            assert!(response.body.contains(&told), "{response:?}");
            for words in ["server.public_url", "socket.hosts", "proxy_set_header Host"] {
                assert!(response.body.contains(words), "{response:?}");
            }
        }
        assert_eq!(ask(&server, host, &format!("http://{host}")).await, 403, "{host}");
        // Whoever looks after the server may call it what he likes.
        for path in ["/health", "/ready"] {
            assert_eq!(request(path).send(server.address()).await.status, 200, "{host} {path}");
        }
    }
    for host in ["localhost", "app.localhost:4000", "127.0.0.1", "127.1.2.3:1", "[::1]"] {
        assert_eq!(ask(&server, host, &format!("http://{host}")).await, 101, "{host}");
    }
    server.wait_for_log("set it as server.public_url or in socket.hosts", 1);
}

#[tokio::test]
async fn apps_and_devices_can_be_listed() {
    let server = App::probe()
        .with(
            r#"
        [socket]
        check_origin = [
            "null", "file://", "capacitor://localhost", "chrome-extension://abc",
            "http://[::1]:4000", "http://[0:0:0:0:0:0:0:2]",
        ]
        "#,
        )
        .serve();
    check(
        &server,
        &[
            ("null", 101),
            ("file://", 101),
            ("file:///", 101),
            ("capacitor://localhost", 101),
            ("chrome-extension://abc", 101),
            ("chrome-extension://abd", 403),
            ("http://localhost", 403),
            ("http://[::1]:4000", 101),
            ("http://[::1]", 403),
            ("http://[::2]:77", 101),
            ("nothing", 403),
        ],
    )
    .await;
    let two = HttpRequest::upgrade("/socket/websocket").header("Origin", "null");
    let two = two.also("Origin", "https://evil.example").send(server.address()).await;
    assert_eq!(two.status, 403, "{two:?}");
}

#[tokio::test]
async fn no_check_lets_every_page_connect() {
    let server = App::probe().with("[socket]\ncheck_origin = false").serve();
    check(&server, &[("http://evil.example", 101), ("null", 101)]).await;
}

#[tokio::test]
async fn a_list_names_the_pages_that_may_connect() {
    let server = App::probe()
        .with(
            r#"
        [socket]
        check_origin = [
            "https://example.com", "//another.com:888", "//*.other.com", "http://local:4000",
        ]
        "#,
        )
        .serve();
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
