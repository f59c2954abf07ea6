//! Connections end with the tokens of their clients.

use super::*;

#[tokio::test]
async fn a_connection_whose_token_ends_is_closed_so_that_its_client_comes_back() {
    let server = with_jwt("[auth.jwt]\nleeway_s = 0").serve();
    let lasting = hs256(KEY, json!({"sub": "bob", "exp": FAR}));
    let mut bob = client(&server, &lasting).await;
    bob.join("room:expiry").await;
    let ending = hs256(KEY, json!({"sub": "ada", "exp": now_s() + 3}));
    let mut ada = client(&server, &ending).await;
    ada.join("room:expiry").await;
    // The server's clock was there already when the token was signed.
    let (code, reason) = ada.socket.expect_close().await;
    assert_eq!((code, reason.as_str()), (4001, "token expired"));
    assert_eq!(shows(&server, &ending).await.status, 403);
    bob.expect_answer("room:expiry", "ping", json!({"still": 1}), "ok", json!({"still": 1})).await;
    let anew = hs256(KEY, json!({"sub": "ada", "exp": FAR}));
    client(&server, &anew).await.join("room:expiry").await;
}
