//! Whose client a connection is, by way of proxies.

use millrace_tests::{HttpRequest, TestSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LISTEN: &str = "listen = \"127.0.0.1:0\"\n";

/// A server that trusts proxies on this machine, with more of its configuration.
fn behind(server: &str, more: &str) -> TestServer {
    let trusted = "trusted_proxies = [\"127.0.0.1\"]";
    configured(&format!("{LISTEN}{more}{ADMIN}[server]\n{trusted}\n{server}\n"))
}

async fn tcp(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

#[tokio::test]
async fn a_client_is_whom_a_trusted_proxy_says() {
    let server = behind("", "");
    let headers = [("x-forwarded-for", "6.6.6.6, 198.51.100.7"), ("forwarded", "for=5.5.5.5")];
    let mut client = client_over(tcp(&server).await, &headers).await;
    is_served(&mut client).await;
    assert_eq!(peers(&server).await, ["198.51.100.7:0"]);
    let server = behind("forwarded_header = \"Forwarded\"", "");
    let mut client = client_over(tcp(&server).await, &headers).await;
    is_served(&mut client).await;
    assert_eq!(peers(&server).await, ["5.5.5.5:0"]);
}

#[tokio::test]
async fn a_stranger_is_not_whom_it_says() {
    let server =
        configured(&format!("{LISTEN}{ADMIN}[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n"));
    let mut client = client_over(tcp(&server).await, &[("x-forwarded-for", "198.51.100.7")]).await;
    is_served(&mut client).await;
    assert!(peers(&server).await[0].starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn clients_of_a_proxy_are_bounded_each_by_its_own_address() {
    let server = behind("", "[socket]\nmax_connections_per_address = 1\n");
    let of = |address: &'static str| [("x-forwarded-for", address)];
    let mut first = client_over(tcp(&server).await, &of("198.51.100.1")).await;
    let mut second = client_over(tcp(&server).await, &of("198.51.100.2")).await;
    is_served(&mut first).await;
    is_served(&mut second).await;
    let again = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
    let again = again.header("X-Forwarded-For", "198.51.100.1").send(server.address()).await;
    assert_eq!((again.status, again.body.as_str()), (503, "too many connections\n"));
    drop(first);
    // It has gone when the server has seen it.
    loop {
        let again = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
        let again = again.header("X-Forwarded-For", "198.51.100.1").send(server.address()).await;
        if again.status == 101 {
            return;
        }
    }
}

#[tokio::test]
async fn a_header_of_the_proxy_protocol_says_whose_a_connection_is() {
    let listen = "listen = { address = \"127.0.0.1:0\", proxy_protocol = true }\n";
    let trusted = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let bounds = "[socket]\nmax_connections_per_address = 1\nhandshake_timeout_ms = 300\n";
    let server = configured(&format!("{listen}{trusted}{bounds}{ADMIN}"));
    let version_2 = [
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".as_slice(),
        &[198, 51, 100, 2, 10, 0, 0, 1, 0, 80, 1, 187],
    ];
    let mut clients = Vec::new();
    for header in [b"PROXY TCP4 198.51.100.1 10.0.0.1 80 443\r\n".as_slice(), &version_2.concat()] {
        let mut stream = tcp(&server).await;
        stream.write_all(header).await.unwrap();
        // What such a client says itself is not believed.
        let mut client = client_over(stream, &[("x-forwarded-for", "9.9.9.9")]).await;
        is_served(&mut client).await;
        clients.push(client);
    }
    let mut found = peers(&server).await;
    found.sort();
    assert_eq!(found, ["198.51.100.1:80", "198.51.100.2:80"]);
    let mut again = tcp(&server).await;
    again.write_all(b"PROXY TCP4 198.51.100.1 10.0.0.1 81 443\r\n").await.unwrap();
    let answer = HttpRequest::new("GET", "/").send_over(again).await;
    assert_eq!(answer.status, 503);
    // A proxy that looks whether the server is there.
    let mut check = tcp(&server).await;
    check.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    assert_eq!(HttpRequest::new("GET", "/ready").send_over(check).await.status, 200);
    // Others are closed, and those that say nothing, too.
    for said in [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b""] {
        let mut other = tcp(&server).await;
        other.write_all(said).await.unwrap();
        assert_eq!(other.read(&mut [0; 100]).await.unwrap_or(0), 0, "{said:?}");
    }
    server.wait_for_log("header of the PROXY protocol", 1);
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_gets_nowhere() {
    let listen = "listen = { address = \"127.0.0.1:0\", proxy_protocol = true }\n";
    let server = configured(&format!("{listen}[server]\ntrusted_proxies = [\"10.0.0.0/8\"]\n"));
    let mut stream = tcp(&server).await;
    stream.write_all(b"PROXY TCP4 198.51.100.1 10.0.0.1 80 443\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 100]).await.unwrap_or(0), 0);
    server.wait_for_log("it is none of server.trusted_proxies", 1);
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let certificate = Certificate::new();
    let listen = "listen = { address = \"127.0.0.1:0\", proxy_protocol = true }\n";
    let trusted = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let server = configured(&format!("{listen}{trusted}{}{ADMIN}", certificate.config("")));
    let mut stream = tcp(&server).await;
    stream.write_all(b"PROXY TCP4 198.51.100.1 10.0.0.1 80 443\r\n").await.unwrap();
    let stream = certificate.over(stream).await.unwrap();
    let mut client = client_over(stream, &[]).await;
    is_served(&mut client).await;
    assert_eq!(peers(&server).await, ["198.51.100.1:80"]);
}

#[tokio::test]
async fn the_public_url_is_known_whatever_a_proxy_passes_on() {
    let server = behind("public_url = \"https://chat.example.com\"", "");
    // With the site's host, and with its own.
    for host in ["chat.example.com", "127.0.0.1"] {
        let url = format!("ws://{host}/socket/websocket?vsn=2.0.0");
        let origin = [("origin", "https://chat.example.com")];
        let socket = TestSocket::over_any(tcp(&server).await, &url, &origin).await;
        is_served(&mut TestClient::over(socket)).await;
    }
    let stranger = HttpRequest::upgrade("/socket/websocket?vsn=2.0.0");
    let stranger = stranger.header("Origin", "https://evil.example.com");
    assert_eq!(stranger.send(server.address()).await.status, 403);
}

#[tokio::test]
async fn a_proxy_that_names_nobody_is_not_asked_by_headers() {
    let listen = "listen = { address = \"127.0.0.1:0\", proxy_protocol = true }\n";
    let trusted = "[server]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let server = configured(&format!("{listen}{trusted}{ADMIN}"));
    let mut stream = tcp(&server).await;
    stream.write_all(b"PROXY UNKNOWN\r\n").await.unwrap();
    let mut client = client_over(stream, &[("x-forwarded-for", "5.5.5.5")]).await;
    is_served(&mut client).await;
    assert!(peers(&server).await[0].starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn a_handshake_that_is_refused_leaves_its_clients_place_to_others() {
    let dashboard = "[dashboard]\nenabled = true\ntoken = \"t\"\n";
    let bound = "[socket]\nmax_connections_per_address = 1\n";
    let server = behind("", &format!("{dashboard}{bound}"));
    // A connection that the proxy keeps.
    let mut kept = tcp(&server).await;
    let refused = HttpRequest::upgrade("/dashboard/socket/websocket?token=bad&vsn=2.0.0");
    let refused = refused.header("X-Forwarded-For", "198.51.100.1").send_over(&mut kept).await;
    assert_eq!(refused.status, 403);
    let other = client_over(tcp(&server).await, &[("x-forwarded-for", "198.51.100.1")]);
    is_served(&mut other.await).await;
    let alive = HttpRequest::new("GET", "/health").send_over(&mut kept).await;
    assert_eq!(alive.status, 200);
}
