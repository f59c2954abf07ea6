//! Requests that are answered.

use std::fs;
use std::sync::Arc;

use millrace_tests::App;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::upstream::{Upstream, response};
use crate::{TOPIC, client, expect_error, fetch};

/// Answers with what it was sent.
fn echo(request: &str) -> Option<Vec<u8>> {
    response("200 OK\r\nx-one: 1\r\nx-one: 2", request)
}

#[tokio::test]
async fn a_request_goes_out_as_it_was_made_and_its_response_comes_back() {
    let upstream = Upstream::start(echo).await;
    let server = App::fetch().reaching_this_machine("fetch").serve();
    let mut client = client(&server).await;
    let order = json!({
        "method": "POST",
        "url": format!("http://localhost:{}/path?query", upstream.port),
        "headers": [["x-token", "t"], ["content-type", "text/plain"]],
        "body": "hello",
    });
    let answer = fetch(&mut client, order).await.unwrap();
    assert_eq!(answer["status"], 200);
    let headers = answer["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["x-one", "1"])) && headers.contains(&json!(["x-one", "2"])));
    let sent = answer["body"].as_str().unwrap();
    assert!(sent.starts_with("POST /path?query HTTP/1.1\r\n"), "{sent}");
    for line in ["x-token: t", "content-length: 5", &format!("host: localhost:{}", upstream.port)] {
        assert!(sent.contains(&format!("{line}\r\n")), "{line}: {sent}");
    }
    assert!(sent.ends_with("\r\n\r\nhello"), "{sent}");
}

#[tokio::test]
async fn any_status_is_a_response_and_redirects_are_not_followed() {
    let elsewhere = Upstream::start(echo).await;
    let upstream = Upstream::start(|request| {
        let path = request.split(' ').nth(1).unwrap();
        match path.strip_prefix("/to/") {
            Some(port) => response(&format!("302 Found\r\nlocation: http://127.0.0.1:{port}/"), ""),
            None => response("404 Not Found", "nothing here"),
        }
    })
    .await;
    let server = App::fetch().reaching_this_machine("fetch").serve();
    let mut client = client(&server).await;
    let url = format!("http://127.0.0.1:{}/x", upstream.port);
    let answer = fetch(&mut client, json!({ "url": url })).await.unwrap();
    assert_eq!((&answer["status"], &answer["body"]), (&json!(404), &json!("nothing here")));
    let url = format!("http://127.0.0.1:{}/to/{}", upstream.port, elsewhere.port);
    let answer = fetch(&mut client, json!({ "url": url })).await.unwrap();
    assert_eq!(answer["status"], 302);
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_plugin_that_waits_for_an_answer_holds_up_nobody() {
    let upstream = Upstream::start(|_| None).await;
    let server = App::fetch().reaching_this_machine("fetch").serve();
    let mut waiting = client(&server).await;
    let url = format!("http://127.0.0.1:{}/", upstream.port);
    // More than there are threads.
    for _ in 0..50 {
        waiting.push(TOPIC, "fetch", json!({ "url": url })).await;
    }
    waiting.join("fetch:b").await;
    waiting.expect_answer("fetch:b", "ping", json!({ "n": 1 }), "ok", json!({ "n": 1 })).await;
    let mut other = client(&server).await;
    other.expect_answer(TOPIC, "ping", json!({}), "ok", json!({})).await;
}

/// A certificate for `localhost` from an authority nobody knows, whose own is
/// written to a file.
fn tls(folder: &TempDir) -> (TlsAcceptor, String) {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &authority).unwrap();
    let path = folder.path().join("authority.pem");
    fs::write(&path, authority.pem()).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), path.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn https_works_with_servers_this_machine_trusts_and_no_others() {
    let folder = TempDir::new().unwrap();
    let (tls, authority) = tls(&folder);
    let upstream = Upstream::start_tls(tls, echo).await;
    let url = format!("https://localhost:{}/", upstream.port);
    let http = "hosts = [\"localhost:*\"]\naddresses = [\"127.0.0.0/8\", \"::1\"]";

    let trusting = App::fetch()
        .with(&format!("[plugins.fetch.http]\n{}", http))
        .environment("SSL_CERT_FILE", &authority);
    let server = trusting.serve();
    let mut client = client(&server).await;
    let answer = fetch(&mut client, json!({ "url": url })).await.unwrap();
    assert_eq!(answer["status"], 200);

    let server = App::fetch().reaching_this_machine("fetch").serve();
    let mut client = crate::client(&server).await;
    expect_error(&mut client, json!({ "url": url }), "unreachable", "certificate").await;
    assert_eq!(upstream.requests(), 1);
}
