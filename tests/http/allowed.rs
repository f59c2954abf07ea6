//! Which servers a plugin may send to.

use millrace_tests::App;
use serde_json::json;

use crate::upstream::{Upstream, response};
use crate::{client, expect_error, fetch};

async fn upstream() -> Upstream {
    Upstream::start(|_| response("200 OK", "secret")).await
}

#[tokio::test]
async fn without_configuration_nothing_is_allowed() {
    let upstream = upstream().await;
    let server = App::fetch().serve();
    let mut client = client(&server).await;
    let order = json!({ "url": format!("http://localhost:{}/", upstream.port) });
    let words = "allowed are: none (plugins.fetch.http.hosts)";
    expect_error(&mut client, order, "denied", words).await;
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn hosts_that_are_not_listed_are_denied() {
    let upstream = upstream().await;
    let port = upstream.port;
    let http = format!("hosts = [\"localhost:{port}\"]\naddresses = [\"127.0.0.1\", \"::1\"]");
    let server = App::fetch().with(&format!("[plugins.fetch.http]\n{}", &http)).serve();
    let mut client = client(&server).await;
    for url in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost.example.com:{port}/"),
        "http://localhost/".to_owned(),
        format!("http://localhost:{}/", port.wrapping_add(1)),
        "http://example.com/".to_owned(),
    ] {
        let words = &format!("allowed are: localhost:{port}");
        expect_error(&mut client, json!({ "url": url }), "denied", words).await;
    }
    let order = json!({ "url": format!("http://LOCALHOST:{port}/") });
    assert_eq!(fetch(&mut client, order).await.unwrap()["body"], "secret");
    assert_eq!(upstream.requests(), 1);
}

/// However the address is written, and whatever name leads to it.
#[tokio::test]
async fn addresses_that_are_not_public_are_denied_unless_listed() {
    let upstream = upstream().await;
    let port = upstream.port;
    let hosts = [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "169.254.169.254",
        "10.0.0.1",
    ];
    let listed: Vec<String> = hosts.iter().map(|host| format!("{host}:*")).collect();
    let server = App::fetch()
        .with(&format!("[plugins.fetch.http]\n{}", &format!("hosts = {listed:?}")))
        .serve();
    let mut client = client(&server).await;
    for host in hosts {
        let order = json!({ "url": format!("http://{host}:{port}/") });
        expect_error(&mut client, order, "denied", "which is not public").await;
    }
    assert_eq!(upstream.requests(), 0);

    let http = format!("hosts = {listed:?}\naddresses = [\"127.0.0.1\"]");
    let server = App::fetch().with(&format!("[plugins.fetch.http]\n{}", &http)).serve();
    let mut client = crate::client(&server).await;
    for host in ["127.0.0.1", "localhost", "2130706433"] {
        let order = json!({ "url": format!("http://{host}:{port}/") });
        assert_eq!(fetch(&mut client, order).await.unwrap()["body"], "secret", "{host}");
    }
    let order = json!({ "url": "http://10.0.0.1/" });
    expect_error(&mut client, order, "denied", "which is not public").await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    let server = App::fetch().reaching_this_machine("fetch").serve();
    let mut client = client(&server).await;
    for (order, words) in [
        (json!({ "url": "localhost/x" }), "an absolute http or https URL"),
        (json!({ "url": "file:///etc/passwd" }), "an absolute http or https URL"),
        (json!({ "url": "http://user:password@localhost/" }), "without user and password"),
        (json!({ "url": "http://localhost/", "method": "G T" }), "the method is"),
        (
            json!({ "url": "http://localhost/", "headers": [["host", "example.com"]] }),
            "it belongs to the connection",
        ),
        (
            json!({ "url": "http://localhost/", "headers": [["x", "a\r\nhost: b"]] }),
            "control characters",
        ),
    ] {
        expect_error(&mut client, order, "invalid", words).await;
    }
}
