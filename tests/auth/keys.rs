//! Keys that come and go while the server runs.

use std::sync::{Arc, Mutex};

use millrace_tests::eventually;
use ring::signature::{Ed25519KeyPair, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

fn pair(number: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[number; 32]).unwrap()
}

/// A token that is signed with the key of this number.
fn signed(number: u8) -> String {
    let header = json!({"alg": "EdDSA", "kid": number.to_string()});
    let claims = json!({"sub": "ada", "exp": FAR});
    jwt(header, claims, |message| pair(number).sign(message).as_ref().to_vec())
}

/// The JWK set with these keys.
fn key_set(numbers: &[u8]) -> String {
    let key = |number: &u8| {
        let x = URL_SAFE_NO_PAD.encode(pair(*number).public_key());
        json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": number.to_string()})
    };
    json!({"keys": numbers.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// A server that publishes what is in the text at the time of each request; gives its address.
async fn publish(body: Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let body = body.lock().unwrap().clone();
            let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length:";
            let response = format!("{head} {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(response.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn keys_of_a_server_are_followed() {
    let published = Arc::new(Mutex::new(key_set(&[1])));
    let address = publish(Arc::clone(&published)).await;
    let server = App::probe()
        .with(&format!(
            "[auth.jwt.jwks]\nurl = \"http://{address}/keys\"\nalgorithms = [\"EdDSA\"]\n\
             refetch_interval_ms = 1\n[socket]\nmax_connects_per_second = 0"
        ))
        .serve();
    client(&server, &signed(1)).await.join("room:keys").await;
    assert_eq!(shows(&server, &signed(2)).await.status, 403);
    *published.lock().unwrap() = key_set(&[2, 3]);
    for number in [2, 3] {
        eventually("the new key is known", async || {
            (shows(&server, &signed(number)).await.status == 101).then_some(())
        })
        .await;
    }
    // A key that was withdrawn is gone with the set that had it.
    assert_eq!(shows(&server, &signed(1)).await.status, 403);
}

#[tokio::test]
async fn without_its_keys_a_token_is_refused_and_the_server_serves() {
    let published = Arc::new(Mutex::new("{\"keys\": \"none\"}".to_owned()));
    let address = publish(published).await;
    let server = App::probe()
        .with(&format!(
            "[auth]\nrequired = false\n[auth.jwt.jwks]\nurl = \"http://{address}/keys\"\n\
             algorithms = [\"EdDSA\"]"
        ))
        .serve();
    assert_eq!(shows(&server, &signed(1)).await.status, 403);
    server.wait_for_log("the keys of tokens were not fetched (auth.jwt.jwks)", 1);
    server.client().await.join("room:keys").await;
}

#[tokio::test]
async fn a_secret_is_rotated_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, KEY).unwrap();
    let other = "another key of no less than 32 bytes";
    let server = App::probe()
        .with(&format!(
            "[server]\nreread_ms = 10\n[auth]\n\
             [[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = {{ file = {path:?} }}\n\
             [[auth.jwt.keys]]\nalgorithm = \"HS256\"\nsecret = {{ env = \"OLD_KEY\" }}\n"
        ))
        .environment("OLD_KEY", "the key before, of no less than 32 bytes")
        .serve();
    let claims = || json!({"sub": "ada", "exp": FAR});
    let asks = async |key: &str| shows(&server, &hs256(key, claims())).await.status;
    assert_eq!((asks(KEY).await, asks(other).await), (101, 403));
    assert_eq!(asks("the key before, of no less than 32 bytes").await, 101);
    std::fs::write(&path, other).unwrap();
    server.wait_for_log("auth.jwt.keys[0].secret was read anew", 1);
    assert_eq!((asks(KEY).await, asks(other).await), (403, 101));
    // One that is too short leaves what there was.
    std::fs::write(&path, "short").unwrap();
    server.wait_for_log("auth.jwt.keys[0].secret was read anew", 2);
    assert_eq!(asks(other).await, 101);
    server.wait_for_log("auth.jwt.keys[0]: the secret of an HS algorithm has 5 bytes", 1);
}
