//! JWK sets: which keys are taken.

use serde_json::{Value, json};

use super::keys::{
    NOW_MS, claims, ecdsa_pair, ecdsa_signature, ed25519_pair, token, user_of, verifier,
};
use crate::encoding::encode_base64url;
use crate::{
    Algorithm, ConfigError, JwksError, MAX_JWKS_BYTES, MAX_KEYS, ParsedJwks, PublicKeyAlgorithm,
    SkipReason, parse_jwks,
};

const ALLOWED: &[PublicKeyAlgorithm] = &[
    PublicKeyAlgorithm::Rs256,
    PublicKeyAlgorithm::Es256,
    PublicKeyAlgorithm::Es384,
    PublicKeyAlgorithm::EdDsa,
];

fn parse_with(keys: &[Value], allowed: &[PublicKeyAlgorithm]) -> Result<ParsedJwks, JwksError> {
    parse_jwks(json!({"keys": keys}).to_string().as_bytes(), allowed)
}

fn parse(keys: &[Value]) -> Result<ParsedJwks, JwksError> {
    parse_with(keys, ALLOWED)
}

/// An RSA key with this id and these members besides.
fn rsa(kid: &str, more: &Value) -> Value {
    let modulus = encode_base64url(&[0xff; 256]);
    let mut jwk = json!({"kty": "RSA", "n": modulus, "e": "AQAB", "kid": kid, "use": "sig"});
    jwk.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    jwk
}

fn reason(jwk: Value) -> SkipReason {
    match parse(&[jwk]) {
        Err(JwksError::NoUsableKey(mut skipped)) => skipped.remove(0).why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn keys_of_all_types_are_taken() {
    let (_, p256) = ecdsa_pair(PublicKeyAlgorithm::Es256);
    let (_, p384) = ecdsa_pair(PublicKeyAlgorithm::Es384);
    let (_, ed25519) = ed25519_pair();
    let parsed = parse(&[rsa("r", &json!({})), p256, p384, ed25519]).unwrap();
    let algorithms: Vec<Algorithm> =
        parsed.keys.keys().iter().map(crate::JwtKey::algorithm).collect();
    assert_eq!(algorithms, ALLOWED.iter().copied().map(Algorithm::PublicKey).collect::<Vec<_>>());
    assert!(parsed.skipped.is_empty());
    assert!(parsed.keys.has_kid("r") && !parsed.keys.has_kid("p"));
}

#[test]
fn a_token_is_verified_with_a_fetched_key() {
    let algorithm = PublicKeyAlgorithm::Es256;
    let ((pair, mut jwk), (other, _)) = (ecdsa_pair(algorithm), ecdsa_pair(algorithm));
    jwk["kid"] = json!("k");
    let fetched = parse(&[jwk]).unwrap().keys;
    let verify = |pair, kid: &str| {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let claims = Value::Object(claims()).to_string();
        let token = token(&header, &claims, |message| ecdsa_signature(pair, message));
        verifier([]).verify_with_keys(&token, &fetched, NOW_MS)
    };
    assert_eq!(user_of(&verify(&pair, "k")), Some("ada"));
    assert_eq!(verify(&other, "k").unwrap_err().reason(), "bad_signature");
    assert_eq!(verify(&pair, "l").unwrap_err().reason(), "unknown_key");
}

#[test]
fn a_key_has_one_algorithm() {
    let both = [PublicKeyAlgorithm::Rs256, PublicKeyAlgorithm::Ps256];
    let parsed = parse_with(&[rsa("r", &json!({"alg": "PS256"}))], &both).unwrap();
    let algorithm = parsed.keys.keys()[0].algorithm();
    assert_eq!(algorithm, Algorithm::PublicKey(PublicKeyAlgorithm::Ps256));
    let JwksError::NoUsableKey(skipped) = parse_with(&[rsa("r", &json!({}))], &both).unwrap_err()
    else {
        panic!()
    };
    assert_eq!(skipped[0].why, SkipReason::NoOneAlgorithm(2));
    // The same algorithm twice is one.
    let twice = [PublicKeyAlgorithm::Rs256; 2];
    assert!(parse_with(&[rsa("r", &json!({}))], &twice).is_ok());
    for name in ["PS256", "HS256", "RSA-OAEP", "none"] {
        assert_eq!(reason(rsa("r", &json!({"alg": name}))), SkipReason::NotConfigured, "{name}");
    }
    // An algorithm that is configured, of another type of key.
    let key = reason(rsa("r", &json!({"alg": "ES256"})));
    assert!(matches!(key, SkipReason::Key(ConfigError::KeyAlgorithm { .. })), "{key}");
}

#[test]
fn keys_that_cannot_be_used_are_left_out() {
    let (_, p256) = ecdsa_pair(PublicKeyAlgorithm::Es256);
    let with = |name: &str, value: Value| {
        let mut jwk = p256.clone();
        jwk[name] = value;
        jwk
    };
    let unusable = [
        json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        rsa("r", &json!({"use": "enc"})),
        rsa("r", &json!({"key_ops": ["encrypt"]})),
        rsa("r", &json!({"d": "AQAB"})),
        rsa("r", &json!({"n": encode_base64url(&[0xff; 128])})),
        rsa("r", &json!({"n": encode_base64url(&[0xff; 1_025])})),
        rsa("r", &json!({"n": encode_base64url(&[0xfe; 256])})),
        rsa("r", &json!({"e": "AQ"})),
        rsa("r", &json!({"e": "Ag"})),
        rsa("r", &json!({"e": encode_base64url(&[1; 5])})),
        rsa("r", &json!({"n": "!"})),
        rsa("r", &json!({"kid": 1})),
        rsa(&"k".repeat(257), &json!({})),
        with("crv", json!("P-384")),
        with("crv", json!("P-521")),
        with("crv", json!("secp256k1")),
        with("x", json!("AA")),
        with("y", json!(null)),
        with("kty", json!("OKP")),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": encode_base64url(&[1; 32])}),
        json!({}),
        json!(null),
    ];
    for jwk in &unusable {
        reason(jwk.clone());
    }
    let mut keys = unusable.to_vec();
    keys.push(p256);
    let parsed = parse(&keys).unwrap();
    assert_eq!((parsed.keys.keys().len(), parsed.skipped.len()), (1, unusable.len()));
    assert_eq!(parsed.skipped[3].index, 3);
}

#[test]
fn zeros_in_front_of_a_modulus_are_taken() {
    let modulus = encode_base64url(&[&[0], &[0xff; 256][..]].concat());
    assert!(parse(&[rsa("r", &json!({"n": modulus}))]).is_ok());
}

#[test]
fn what_is_no_set_is_refused() {
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, "<html>"] {
        assert_eq!(
            parse_jwks(text.as_bytes(), ALLOWED).unwrap_err(),
            JwksError::Malformed,
            "{text}"
        );
    }
    let empty = parse(&[]).unwrap_err();
    assert_eq!(empty.to_string(), "none of the 0 keys of the JWK set can be used");
    let error = parse(&[json!({"kty": "oct"})]).unwrap_err().to_string();
    assert!(error.contains("none of the 1 keys") && error.contains("oct"), "{error}");
    let large = " ".repeat(MAX_JWKS_BYTES + 1);
    let error = parse_jwks(large.as_bytes(), ALLOWED).unwrap_err();
    assert_eq!(error, JwksError::TooLarge { found: MAX_JWKS_BYTES + 1 });
    let many = vec![json!({}); MAX_KEYS + 1];
    assert_eq!(parse(&many).unwrap_err(), JwksError::TooManyKeys { found: MAX_KEYS + 1 });
}
