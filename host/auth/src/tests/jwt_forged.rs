//! Forged JWTs: algorithms, keys, headers.

use serde_json::{Value, json};

use super::keys::{
    NOW_MS, NOW_S, RSA_PUBLIC, claims, ed25519_pair, hmac_key, hs256, key_set, rsa_key, secret,
    signer, token, user_of, verifier,
};
use crate::encoding::{decode_any_base64, encode_base64url};
use crate::{
    ConfigError, HmacAlgorithm, Identity, JwtKey, JwtSigner, PublicKeyAlgorithm, Refusal, Secret,
};

const HS256: HmacAlgorithm = HmacAlgorithm::Hs256;

fn verify(token: &str) -> Result<Identity, Refusal> {
    verifier([hmac_key(HS256)]).verify(token, NOW_MS)
}

fn claims_text() -> String {
    Value::Object(claims()).to_string()
}

/// A token with this header and the right MAC.
fn with_header(header: &str) -> String {
    hs256(header, &claims_text())
}

#[test]
fn no_signature_is_none() {
    for name in ["none", "None", "NONE", "nOnE"] {
        let header = json!({"alg": name}).to_string();
        for signature in [Vec::new(), vec![0; 32]] {
            let token = token(&header, &claims_text(), |_| signature);
            assert_eq!(verify(&token), Err(Refusal::WrongAlgorithm), "{name}");
        }
        assert_eq!(verify(&with_header(&header)), Err(Refusal::WrongAlgorithm), "{name}");
    }
    let token = token(r#"{"alg":"HS256"}"#, &claims_text(), |_| Vec::new());
    assert_eq!(verify(&token), Err(Refusal::BadSignature));
}

#[test]
fn a_public_key_is_no_secret() {
    // Signed with the public key, in each form that one may have taken it for a secret.
    let der = decode_any_base64(
        &RSA_PUBLIC.lines().filter(|line| !line.starts_with('-')).collect::<String>(),
    );
    for public in [RSA_PUBLIC.as_bytes(), RSA_PUBLIC.trim().as_bytes(), &der.unwrap()] {
        let token = token(r#"{"alg":"HS256"}"#, &claims_text(), |message| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public);
            ring::hmac::sign(&key, message).as_ref().to_vec()
        });
        let keys = [rsa_key(PublicKeyAlgorithm::Rs256)];
        assert_eq!(verifier(keys).verify(&token, NOW_MS), Err(Refusal::WrongAlgorithm));
        let keys = [rsa_key(PublicKeyAlgorithm::Rs256), hmac_key(HS256)];
        assert_eq!(verifier(keys).verify(&token, NOW_MS), Err(Refusal::BadSignature));
    }
    let secret = Secret::from_text(RSA_PUBLIC);
    assert_eq!(JwtKey::hmac(HS256, &secret).unwrap_err(), ConfigError::SecretIsKey);
    assert_eq!(JwtSigner::new(HS256, &secret, None).unwrap_err(), ConfigError::SecretIsKey);
}

#[test]
fn another_secret_or_digest_is_refused() {
    let other = Secret::from_text(&"t".repeat(64));
    let token = JwtSigner::new(HS256, &other, None).unwrap().sign(&claims());
    assert_eq!(verify(&token), Err(Refusal::BadSignature));
    let token = signer(HmacAlgorithm::Hs512).sign(&claims());
    assert_eq!(verify(&token), Err(Refusal::WrongAlgorithm));
    // The header says HS512, the MAC is that of HS256.
    let token = with_header(r#"{"alg":"HS512"}"#);
    let keys = [hmac_key(HS256), hmac_key(HmacAlgorithm::Hs512)];
    assert_eq!(verifier(keys).verify(&token, NOW_MS), Err(Refusal::BadSignature));
}

#[test]
fn parts_that_are_exchanged_or_cut_are_refused() {
    let token = signer(HS256).sign(&claims());
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let admin = encode_base64url(format!(r#"{{"sub":"root","exp":{}}}"#, NOW_S + 60).as_bytes());
    let forged = [
        format!("{header}.{admin}.{signature}"),
        format!("{header}.{claims}.{}", &signature[..40]),
        format!("{header}.{claims}."),
        format!("{header}..{signature}"),
    ];
    for token in forged {
        assert_eq!(verify(&token), Err(Refusal::BadSignature), "{token}");
    }
    let malformed = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        header.to_owned(),
        format!("{header}.{claims}"),
        format!("{token}."),
        format!("{token}.{signature}"),
        format!("{header}.{claims}.{signature}.{signature}.{signature}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!(".{claims}.{signature}"),
    ];
    for token in malformed {
        assert_eq!(verify(&token).unwrap_err().reason(), "malformed", "{token}");
    }
}

#[test]
fn headers_that_are_not_understood_are_refused() {
    for header in [r#"{"alg":"HS256","crit":["exp"]}"#, r#"{"alg":"HS256","crit":[],"exp":1}"#] {
        assert_eq!(verify(&with_header(header)), Err(Refusal::CriticalHeader), "{header}");
    }
    for header in [
        "{}",
        "[]",
        "null",
        r#""HS256""#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","kid":1}"#,
        r#"{"alg":"HS256","kid":""}"#,
        r#"{"alg":"HS256"} "#.trim_end().trim_end_matches('}'),
    ] {
        assert_eq!(verify(&with_header(header)).unwrap_err().reason(), "malformed", "{header}");
    }
    let kid = json!({"alg": "HS256", "kid": "k".repeat(257)}).to_string();
    assert_eq!(verify(&with_header(&kid)).unwrap_err().reason(), "malformed");
    let long = json!({"alg": "HS256", "x5c": "x".repeat(2_048)}).to_string();
    assert_eq!(verify(&with_header(&long)).unwrap_err().reason(), "too_large");
}

#[test]
fn a_key_that_the_token_brings_is_not_used() {
    let (pair, jwk) = ed25519_pair();
    let header = json!({"alg": "EdDSA", "jwk": jwk, "jku": "https://example.com"}).to_string();
    let token = token(&header, &claims_text(), |message| pair.sign(message).as_ref().to_vec());
    assert_eq!(verify(&token), Err(Refusal::WrongAlgorithm));
    let (_, ours) = ed25519_pair();
    let ours = JwtKey::public(PublicKeyAlgorithm::EdDsa, &ours.to_string()).unwrap();
    assert_eq!(verifier([ours]).verify(&token, NOW_MS), Err(Refusal::BadSignature));
}

fn secret_key(letter: &str, kid: Option<&str>) -> JwtKey {
    let key = JwtKey::hmac(HS256, &Secret::from_text(&letter.repeat(64))).unwrap();
    kid.map_or_else(|| key.clone(), |kid| key.clone().with_kid(kid).unwrap())
}

fn secret_token(letter: &str, kid: Option<&str>) -> String {
    let secret = Secret::from_text(&letter.repeat(64));
    JwtSigner::new(HS256, &secret, kid.map(Into::into)).unwrap().sign(&claims())
}

#[test]
fn the_kid_chooses_the_key() {
    let verifier = verifier([secret_key("a", Some("A")), secret_key("b", Some("B"))]);
    let verify = |letter, kid| verifier.verify(&secret_token(letter, kid), NOW_MS);
    for (letter, kid) in [("a", Some("A")), ("b", Some("B")), ("a", None), ("b", None)] {
        assert_eq!(user_of(&verify(letter, kid)), Some("ada"), "{letter} {kid:?}");
    }
    assert_eq!(verify("a", Some("B")), Err(Refusal::BadSignature));
    assert_eq!(verify("b", Some("A")), Err(Refusal::BadSignature));
    assert_eq!(verify("a", Some("C")), Err(Refusal::UnknownKey));
    assert_eq!(verify("c", None), Err(Refusal::BadSignature));
}

#[test]
fn a_key_without_an_id_takes_tokens_of_unknown_ids() {
    let verifier = verifier([secret_key("a", Some("A")), secret_key("b", None)]);
    let verify = |letter, kid| verifier.verify(&secret_token(letter, kid), NOW_MS);
    assert_eq!(user_of(&verify("b", Some("X"))), Some("ada"));
    assert_eq!(verify("b", Some("A")), Err(Refusal::BadSignature));
    assert_eq!(verify("a", Some("X")), Err(Refusal::BadSignature));
}

#[test]
fn the_kid_of_a_key_for_another_algorithm_is_refused() {
    let keys = [rsa_key(PublicKeyAlgorithm::Rs256).with_kid("A").unwrap(), hmac_key(HS256)];
    let token = JwtSigner::new(HS256, &secret(), Some("A".into())).unwrap().sign(&claims());
    assert_eq!(verifier(keys).verify(&token, NOW_MS), Err(Refusal::WrongAlgorithm));
}

#[test]
fn the_number_of_keys_that_are_tried_is_bounded() {
    let keys = |count: usize| (0..count).map(|n| secret_key("a", Some(&n.to_string())));
    let verify = |count, kid| verifier(keys(count)).verify(&secret_token("a", kid), NOW_MS);
    assert!(verify(16, None).is_ok());
    assert_eq!(verify(17, None), Err(Refusal::AmbiguousKey { found: 17, max: 16 }));
    assert!(verify(64, Some("63")).is_ok());
}

#[test]
fn fetched_keys_are_used_besides_configured_ones() {
    let verifier = verifier([secret_key("a", Some("A"))]);
    let fetched = key_set([secret_key("b", Some("B"))]);
    let verify =
        |letter, kid| verifier.verify_with_keys(&secret_token(letter, kid), &fetched, NOW_MS);
    for (letter, kid) in [("a", Some("A")), ("b", Some("B")), ("a", None), ("b", None)] {
        assert_eq!(user_of(&verify(letter, kid)), Some("ada"), "{letter} {kid:?}");
    }
    assert_eq!(verify("a", Some("B")), Err(Refusal::BadSignature));
}

#[test]
fn without_keys_nothing_verifies() {
    assert_eq!(verifier([]).verify(&secret_token("a", None), NOW_MS), Err(Refusal::UnknownKey));
}
