//! Clients that prove who they are. The app is `tests/apps/auth`, or the probe with an `[auth]`
//! of the test's own.

mod commands;
mod expiry;
mod keys;
mod longpoll;
mod tokens;

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use millrace_tests::{App, HttpRequest, HttpResponse, TestClient, TestServer, TestSocket};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// `"ada"`, signed in November 2025 with the secret of `tests/apps/auth`, for a day.
const VECTOR: &str = "SFMyNTY.g2gDbQAAAANhZGFuBgAAcMLHmgFiAAFRgA.\
                      oPcwDykNFkvb68ASm9GHyUeWpBIHyu3aD9R739-XoMo";

/// The key of JWTs in `tests/apps/auth`.
const KEY: &str = "millrace-test-key-0123456789abcdef";

/// The end of a token that does not end while a test runs.
const FAR: u64 = 253_402_300_799;

const PATH: &str = "/socket/websocket?vsn=2.0.0";

/// `tests/apps/auth` with an admin interface.
fn contract() -> App {
    App::of_repository("tests/apps/auth").arguments(&["--admin", "127.0.0.1:0"])
}

/// The probe, which takes JWTs that are signed with [`KEY`].
fn with_jwt(more: &str) -> App {
    App::probe()
        .admin()
        .with(&format!("{more}\n[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = \"{KEY}\"\n"))
}

/// The subprotocols by which phoenix.js shows a token.
fn protocols(token: &str) -> String {
    format!("phoenix, base64url.bearer.phx.{}", STANDARD_NO_PAD.encode(token))
}

/// Asks for a WebSocket with a token, as phoenix.js does.
async fn shows(server: &TestServer, token: &str) -> HttpResponse {
    let request = HttpRequest::upgrade(PATH);
    request.header("Sec-WebSocket-Protocol", &protocols(token)).send(server.address()).await
}

/// A client with a token.
async fn client(server: &TestServer, token: &str) -> TestClient {
    let tcp = TcpStream::connect(server.address()).await.unwrap();
    let (url, protocols) = (format!("ws://{}{PATH}", server.address()), protocols(token));
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    TestClient::over(TestSocket::over_any(tcp, &url, &headers).await)
}

/// The user ids of those who are connected.
async fn users(server: &TestServer) -> Vec<Value> {
    let sockets = HttpRequest::new("GET", "/sockets").send(server.admin()).await.json();
    let sockets = sockets["sockets"].as_array().expect("a list").clone();
    sockets.into_iter().map(|socket| socket["user"].clone()).collect()
}

/// The time now, in seconds of Unix time.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A JWT with this header and these claims, and what a key makes of them.
fn jwt(header: Value, claims: Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A JWT that is signed with HS256.
fn hs256(key: &str, claims: Value) -> String {
    jwt(json!({"alg": "HS256", "typ": "JWT"}), claims, |message| mac(key, message))
}

fn mac(key: &str, message: &[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key.as_bytes());
    ring::hmac::sign(&key, message).as_ref().to_vec()
}
