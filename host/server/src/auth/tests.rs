//! Tokens of clients against what is configured, with keys that a server of the test publishes.

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::App;

/// The token of the documentation of the format: `"ada"`, signed in November 2025, for a day.
const VECTOR: &str = "SFMyNTY.g2gDbQAAAANhZGFuBgAAcMLHmgFiAAFRgA.\
                      oPcwDykNFkvb68ASm9GHyUeWpBIHyu3aD9R739-XoMo";

fn auth(text: &str) -> Auth {
    let app = App::parse("/app".into(), text).unwrap();
    Auth::new(app.auth.as_ref(), &Metrics::none()).unwrap()
}

/// Phoenix tokens, as in the vector.
fn phoenix(more: &str) -> String {
    let secret = "x".repeat(64);
    format!(
        "[auth]\n{more}\n[auth.phoenix_token]\nsecrets = [\"{secret}\"]\nsalt = \"user socket\"\n\
         max_age_s = 315360000"
    )
}

async fn shows(auth: &Auth, token: &str) -> Result<Option<VerifiedToken>, AuthRefusal> {
    let auth_token = Some(token.to_owned());
    auth.verify(&ConnectRequest { auth_token, ..ConnectRequest::default() }).await
}

async fn shows_param(auth: &Auth, name: &str, token: &str) -> Result<bool, AuthRefusal> {
    let params = vec![(name.to_owned(), token.to_owned())];
    let verified = auth.verify(&ConnectRequest { params, ..ConnectRequest::default() }).await;
    verified.map(|verified| verified.is_some())
}

/// The key with this number: what signs, and the JWK of it.
fn key(number: u8) -> (Ed25519KeyPair, Value) {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": x, "kid": number.to_string()});
    (pair, jwk)
}

/// A token of this user, signed with the key of this number.
fn signed(number: u8, user: &str) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": "EdDSA", "kid": number.to_string()}));
    let message = format!("{header}.{}", part(json!({"sub": user, "exp": 253_402_300_799_u64})));
    let signature = key(number).0.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A server that publishes keys: it answers with what it has at the time, and counts.
#[derive(Debug, Default)]
struct Publisher {
    answer: Mutex<String>,
    requests: AtomicUsize,
}

impl Publisher {
    /// The server, and the configuration that names it.
    async fn start(more: &str) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let publisher = Arc::<Self>::default();
        let serving = Arc::clone(&publisher);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                serving.requests.fetch_add(1, Ordering::Relaxed);
                let answer = serving.answer.lock().unwrap().clone();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        let text = format!(
            "[auth.jwt.jwks]\nurl = \"{url}\"\nalgorithms = [\"EdDSA\"]\n\
             refetch_interval_ms = 1\n{more}"
        );
        (publisher, text)
    }

    fn answer(&self, status: &str, body: &str) {
        let length = body.len();
        *self.answer.lock().unwrap() = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
    }

    fn publish(&self, numbers: &[u8]) {
        let keys: Vec<_> = numbers.iter().map(|number| key(*number).1).collect();
        self.answer("200 OK", &json!({"keys": keys}).to_string());
    }
}

#[tokio::test]
async fn a_token_says_who_a_client_is() {
    let auth = auth(&phoenix(""));
    let verified = shows(&auth, VECTOR).await.unwrap().unwrap();
    assert_eq!(verified.user_id.as_deref(), Some("ada"));
    assert_eq!(verified.token.claims, "\"ada\"");
    assert_eq!(verified.token.expires_at_unix_ms, Some(1_764_288_000_000 + 315_360_000_000 + 1));
}

#[tokio::test]
async fn a_token_comes_in_the_configured_parameter_alone() {
    let named = auth(&phoenix("param = \"jwt\""));
    assert_eq!(shows_param(&named, "jwt", VECTOR).await, Ok(true));
    assert_eq!(shows_param(&named, "token", VECTOR).await, Err(AuthRefusal::Missing));
    assert_eq!(shows_param(&named, "jwt", "").await, Err(AuthRefusal::Missing));
    assert_eq!(shows_param(&auth(&phoenix("")), "jwt", VECTOR).await, Err(AuthRefusal::Missing));
}

#[tokio::test]
async fn who_needs_no_token_needs_none_that_is_wrong() {
    let optional = auth(&phoenix("required = false"));
    assert!(optional.verify(&ConnectRequest::default()).await.unwrap().is_none());
    let forged = shows(&optional, &format!("{VECTOR}x")).await.unwrap_err();
    assert_eq!(forged.reason(), "bad_signature");
    assert!(!forged.to_string().contains("SFMyNTY"), "{forged}");
    let huge = shows(&optional, &"x".repeat(10_000)).await.unwrap_err();
    assert_eq!(huge.reason(), "too_large");
    let nobody = auth("");
    assert!(!nobody.is_on() && shows(&nobody, "anything").await.unwrap().is_none());
}

#[tokio::test]
async fn secrets_that_are_read_anew_are_used_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (path, secret) = (folder.path().join("millrace.toml"), folder.path().join("secret"));
    let text = "[auth.phoenix_token]\nsalt = \"user socket\"\nmax_age_s = 315360000\n\
                secrets = [{ file = \"secret\" }]";
    std::fs::write(&path, text).unwrap();
    std::fs::write(&secret, "y".repeat(64)).unwrap();
    let app = App::load(&path).unwrap();
    let auth = Auth::new(app.auth.as_ref(), &Metrics::none()).unwrap();
    assert_eq!(shows(&auth, VECTOR).await.unwrap_err().reason(), "bad_signature");
    let reread = |text: &str| {
        std::fs::write(&secret, text).unwrap();
        app.secrets_in_files().iter().for_each(|(_, secret)| assert_eq!(secret.reread(), Ok(true)));
    };
    reread(&"x".repeat(64));
    assert!(shows(&auth, VECTOR).await.is_ok());
    // One that cannot be used leaves the keys as they were.
    reread("short");
    assert!(shows(&auth, VECTOR).await.is_ok());
    reread(&"y".repeat(64));
    assert!(shows(&auth, VECTOR).await.is_err());
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_wait_for_them() {
    let (publisher, text) = Publisher::start("").await;
    publisher.publish(&[1]);
    let (auth, token) = (auth(&text), signed(1, "ada"));
    let all = join_all((0..20).map(|_| shows(&auth, &token))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(publisher.requests.load(Ordering::Relaxed), 1);
    assert_eq!(all[0].as_ref().unwrap().as_ref().unwrap().user_id.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_key_that_was_rotated_in_is_fetched() {
    let (publisher, text) = Publisher::start("").await;
    publisher.publish(&[1]);
    let auth = auth(&text);
    assert!(shows(&auth, &signed(1, "ada")).await.is_ok());
    assert_eq!(shows(&auth, &signed(3, "ada")).await.unwrap_err().reason(), "unknown_key");
    publisher.publish(&[2]);
    // It is not asked for more often than each millisecond.
    while shows(&auth, &signed(2, "ada")).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(shows(&auth, &signed(1, "ada")).await.unwrap_err().reason(), "unknown_key");
}

#[tokio::test]
async fn without_keys_a_client_is_refused_and_the_next_is_not() {
    let (publisher, text) = Publisher::start("max_bytes = 2000").await;
    for (status, body) in [
        ("500 Internal Server Error", "{}"),
        ("302 Found", "{}"),
        ("200 OK", "no keys"),
        ("200 OK", &" ".repeat(2_001)),
    ] {
        publisher.answer(status, body);
        let refused = shows(&auth(&text), &signed(1, "ada")).await.unwrap_err();
        assert_eq!(refused.reason(), "keys_unavailable", "{status}");
    }
    publisher.publish(&[1]);
    assert!(shows(&auth(&text), &signed(1, "ada")).await.is_ok());
}

#[tokio::test]
async fn a_server_that_does_not_answer_holds_nobody_up_for_ever() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let secret = "millrace-test-key-0123456789abcdef";
    let text = format!(
        "[[auth.jwt.keys]]\nalgorithm = \"HS256\"\nkid = \"own\"\nsecret = \"{secret}\"\n\
         [auth.jwt.jwks]\nurl = \"http://{}/\"\nalgorithms = [\"EdDSA\"]\ntimeout_ms = 10",
        silent.local_addr().unwrap()
    );
    let auth = auth(&text);
    let refused = shows(&auth, &signed(1, "ada")).await.unwrap_err();
    assert_eq!(refused.reason(), "keys_unavailable");
    // Whose key is known beforehand needs no other.
    let app = App::parse("/app".into(), &text).unwrap();
    let signer = Signer::of(app.auth.as_ref().unwrap()).unwrap();
    let user = Some("ada".to_owned());
    let wanted = Wanted { user, claims: serde_json::Map::new(), expires_in_s: 60 };
    let own = signer.sign(wanted, unix_ms()).unwrap();
    assert!(shows(&auth, &own).await.is_ok());
}
