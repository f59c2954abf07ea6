//! TLS of clients and operators.

use millrace_tests::{App, HttpRequest, eventually, run, run_in};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const LISTEN: &str = "listen = \"127.0.0.1:0\"\n";

fn tls_server(certificate: &Certificate, more: &str) -> TestServer {
    configured(&format!("{LISTEN}{}", certificate.config(more)))
}

#[tokio::test]
async fn clients_are_served_over_tls_and_told_where_it_is_spoken() {
    let certificate = Certificate::new();
    let server = tls_server(&certificate, "");
    let stream = certificate.connect(server.address()).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut client = client_over(stream, &[]).await;
    is_served(&mut client).await;
    // Larger than what is written at once, and than a record of TLS.
    for bytes in [20_000, 300_000] {
        let large = json!({ "text": "x".repeat(bytes) });
        client.expect_answer("room:1", "ping", large.clone(), "ok", large).await;
    }
    let stream = certificate.connect(server.address()).await.unwrap();
    let health = HttpRequest::new("GET", "/health").send_over(stream).await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    // Without TLS.
    let plain = HttpRequest::new("GET", "/health").send(server.address()).await;
    assert_eq!(
        (plain.status, plain.body.as_str()),
        (400, "TLS is spoken here: ask with https://\n")
    );
    let refused = TcpStream::connect(server.address()).await.unwrap();
    let refused = connect(refused, &certificate.path("cert.pem"), &[b"h2"]).await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
    drop(client);
    assert!(server.terminate().success());
}

#[tokio::test]
async fn a_client_over_tls_that_reads_late_gets_all_in_order() {
    let certificate = Certificate::new();
    let server = tls_server(&certificate, "");
    let stream = certificate.connect(server.address()).await.unwrap();
    let mut client = client_over(stream, &[]).await;
    client.join("room:1").await;
    let mut references = Vec::new();
    for number in 0..64 {
        let payload = json!({ "number": number, "text": "x".repeat(50_000) });
        references.push((client.push("room:1", "ping", payload.clone()).await, payload));
    }
    for (reference, payload) in references {
        client.expect_reply("room:1", &reference, "ok", payload).await;
    }
}

#[tokio::test]
async fn a_certificate_is_exchanged_while_clients_stay() {
    let certificate = Certificate::new();
    let text = format!("{LISTEN}[server]\nreread_ms = 10\n{}", certificate.config(""));
    let server = configured(&text);
    let stream = certificate.connect(server.address()).await.unwrap();
    let mut client = client_over(stream, &[]).await;
    client.join("room:1").await;
    certificate.issue();
    server.wait_for_log("tls.certificate was read anew", 1);
    // The new one alone is trusted here.
    certificate.connect(server.address()).await.unwrap();
    std::fs::write(certificate.path("key.pem"), "none").unwrap();
    server.wait_for_log("which has no private key", 1);
    certificate.connect(server.address()).await.unwrap();
    let reference = client.heartbeat().await;
    client.expect_heartbeat(&reference).await;
}

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_closed_and_keeps_nobody_out() {
    let certificate = Certificate::new();
    let bounds = "handshake_timeout_ms = 300\nmax_handshakes = 8\n";
    let text = format!("{LISTEN}{}{ADMIN}", certificate.config(bounds));
    let server = configured(&text);
    // One of an address is as many as may be: an eighth.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.write_all(&[0x16, 3, 1]).await.unwrap();
        slow.push(tcp);
    }
    // They are closed in the end, and then there is room.
    for mut tcp in slow {
        assert_eq!(tcp.read(&mut [0; 16]).await.unwrap_or(0), 0);
    }
    let connects = async || certificate.connect(server.address()).await.ok();
    let stream = eventually("there is room", connects).await;
    is_served(&mut client_over(stream, &[]).await).await;
}

#[tokio::test]
async fn handshakes_that_do_not_begin_cost_nobody_a_handshake() {
    let certificate = Certificate::new();
    let server = tls_server(&certificate, "max_handshakes_per_second = 4\n");
    for _ in 0..40 {
        drop(TcpStream::connect(server.address()).await.unwrap());
    }
    let stream = certificate.connect(server.address()).await.unwrap();
    is_served(&mut client_over(stream, &[]).await).await;
}

#[tokio::test]
async fn operators_get_through_beside_clients_that_do_not_finish_a_handshake() {
    let certificate = Certificate::new();
    let bounds = certificate.config("max_handshakes = 8\nmax_handshakes_per_second = 4\n");
    let server = configured(&format!("{LISTEN}{bounds}{ADMIN}tls = true\ntoken = \"t\"\n"));
    let mut slow = Vec::new();
    for host in 2..10 {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, host], 0).into()).unwrap();
        let mut tcp = socket.connect(server.address().parse().unwrap()).await.unwrap();
        tcp.write_all(&[0x16, 3, 1]).await.unwrap();
        slow.push(tcp);
    }
    // There is no place for a client any more.
    let is_full = async || certificate.connect(server.address()).await.err();
    eventually("a client is turned away", is_full).await;
    let stream = certificate.connect(server.admin()).await.unwrap();
    let request = HttpRequest::new("GET", "/plugins").header("Authorization", "Bearer t");
    assert_eq!(request.send_over(stream).await.status, 200);
    // Nor does a server that stops wait for them.
    assert!(server.terminate().success());
    assert!(!server.log().contains("did not end in time"), "{}", server.log());
}

#[tokio::test]
async fn operators_are_served_over_tls() {
    let certificate = Certificate::new();
    let text = format!("{LISTEN}{}{ADMIN}tls = true\ntoken = \"t\"\n", certificate.config(""));
    let server = configured(&text);
    let stream = certificate.connect(server.admin()).await.unwrap();
    let request = HttpRequest::new("GET", "/plugins").header("Authorization", "Bearer t");
    assert_eq!(request.send_over(stream).await.status, 200);
    let certificates = certificate.path("cert.pem");
    let admin = format!("https://localhost:{}", server.admin().rsplit_once(':').unwrap().1);
    let trusted = [("SSL_CERT_FILE", certificates.to_str().unwrap())];
    let asked = ["plugins", "--token", "t", "--admin", &admin];
    let run = run_in(&trusted, asked).await;
    assert!(run.code == Some(0) && run.stdout.contains("probe"), "{run:?}");
    let run = run_in(&[], asked).await;
    run.assert_refused(&[
        "the certificate of https://localhost",
        "is not trusted: it is of an unknown issuer; name the issuer's with SSL_CERT_FILE=ca.pem",
    ]);
}

#[tokio::test]
async fn the_cookie_of_the_dashboard_comes_over_tls_alone() {
    let certificate = Certificate::new();
    let text =
        format!("{LISTEN}{}[dashboard]\nenabled = true\ntoken = \"t\"\n", certificate.config(""));
    let server = configured(&text);
    let stream = certificate.connect(server.address()).await.unwrap();
    let answer = HttpRequest::new("GET", "/dashboard/?token=t").send_over(stream).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Secure"), "{answer:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_told() {
    let certificate = Certificate::new();
    std::fs::remove_file(certificate.path("key.pem")).unwrap();
    let app = App::probe().with(&format!("{LISTEN}{}", certificate.config("")));
    let run = run(["serve", app.path().to_str().unwrap()]).await;
    run.assert_refused(&["key.pem, which cannot be read: No such file"]);
}
