//! A page whose name was made to lead to this machine does not see the dashboard.

use millrace_tests::{App, HttpRequest, TestServer};

const SOCKET: &str = "/dashboard/socket/websocket?vsn=2.0.0";

async fn status(server: &TestServer, request: HttpRequest, host: &str) -> u16 {
    request.header("Host", host).send(server.address()).await.status
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused() {
    let server = App::probe().with("[dashboard]\nenabled = true").serve();
    let data = || HttpRequest::new("GET", "/dashboard/data.json");
    let socket =
        |host: &str| HttpRequest::upgrade(SOCKET).header("Origin", &format!("http://{host}"));
    for host in ["127.0.0.1:4000", "localhost", "[::1]:1"] {
        assert_eq!(status(&server, data(), host).await, 200, "{host}");
        assert_eq!(status(&server, socket(host), host).await, 101, "{host}");
    }
    for host in ["evil.example", "evil.example:4000", "localhost.evil.example", ""] {
        assert_eq!(status(&server, data(), host).await, 403, "{host}");
        assert_eq!(status(&server, socket(host), host).await, 403, "{host}");
    }
}

#[tokio::test]
async fn a_name_that_is_listed_may_lead_here_and_so_may_any_with_a_token() {
    let data = |query: &str| HttpRequest::new("GET", &format!("/dashboard/data.json{query}"));
    let listed = "[socket]\ncheck_origin = [\"https://ops.example\"]\n[dashboard]\nenabled = true";
    let listed = App::probe().with(listed).serve();
    assert_eq!(status(&listed, data(""), "ops.example").await, 200);
    assert_eq!(status(&listed, data(""), "evil.example").await, 403);
    let with_token = App::probe().with("[dashboard]\nenabled = true\ntoken = \"secret\"").serve();
    assert_eq!(status(&with_token, data("?token=secret"), "ops.example").await, 200);
    assert_eq!(status(&with_token, data(""), "ops.example").await, 403);
}
