//! Phoenix tokens: the known one, keys, users, forged ones.

use serde_json::{Value, json};

use super::keys::user_of;
use crate::encoding::encode_base64url;
use crate::{
    Identity, MaxAge, PhoenixKeys, PhoenixRules, PhoenixVerifier, Refusal, Secret, Verifier,
};

/// The data `"ada"`, signed at [`SIGNED_MS`] for a day with the secret and salt of [`keys`].
pub(super) const KNOWN: &str = "SFMyNTY.g2gDbQAAAANhZGFuBgAAcMLHmgFiAAFRgA.\
    oPcwDykNFkvb68ASm9GHyUeWpBIHyu3aD9R739-XoMo";
pub(super) const SIGNED_MS: u64 = 1_764_288_000_000;
pub(super) const DAY: MaxAge = MaxAge::Seconds(86_400);

pub(super) fn keys() -> PhoenixKeys {
    keys_of(&["x"])
}

/// Keys of secrets that are a letter, 64 times.
fn keys_of(letters: &[&str]) -> PhoenixKeys {
    let secrets: Vec<Secret> =
        letters.iter().map(|letter| Secret::from_text(&letter.repeat(64))).collect();
    PhoenixKeys::derive(&secrets, "user socket").unwrap()
}

pub(super) fn verifier_with(keys: PhoenixKeys, rules: PhoenixRules) -> Verifier {
    Verifier::new().with_phoenix(PhoenixVerifier::new(keys, rules))
}

pub(super) fn verify(token: &str, now_unix_ms: u64) -> Result<Identity, Refusal> {
    verifier_with(keys(), PhoenixRules::default()).verify(token, now_unix_ms)
}

fn verify_data(data: &Value) -> Result<Identity, Refusal> {
    verify(&keys().sign(data, SIGNED_MS, DAY).unwrap(), SIGNED_MS)
}

#[test]
fn the_known_token_is_verified_and_signed() {
    let identity = verify(KNOWN, SIGNED_MS).unwrap();
    let expected = Identity {
        user_id: Some("ada".into()),
        claims: json!("ada"),
        expires_at_unix_ms: Some(SIGNED_MS + 86_400_001),
    };
    assert_eq!(identity, expected);
    assert_eq!(keys().sign(&json!("ada"), SIGNED_MS, DAY).unwrap(), KNOWN);
}

#[test]
fn longer_digests_verify_with_the_same_key() {
    // The key itself, made as plug_crypto makes it.
    let mut key = [0; 32];
    let secret = "x".repeat(64);
    let iterations = 1_000.try_into().unwrap();
    let algorithm = ring::pbkdf2::PBKDF2_HMAC_SHA256;
    ring::pbkdf2::derive(algorithm, iterations, b"user socket", secret.as_bytes(), &mut key);
    let payload = KNOWN.split('.').nth(1).unwrap();
    let digests = [("HS384", ring::hmac::HMAC_SHA384), ("HS512", ring::hmac::HMAC_SHA512)];
    for (name, digest) in digests {
        let message = format!("{}.{payload}", encode_base64url(name.as_bytes()));
        let mac = ring::hmac::sign(&ring::hmac::Key::new(digest, &key), message.as_bytes());
        let token = format!("{message}.{}", encode_base64url(mac.as_ref()));
        assert_eq!(user_of(&verify(&token, SIGNED_MS)), Some("ada"), "{name}");
    }
}

#[test]
fn any_secret_verifies_and_the_first_signs() {
    let (old, new, both) = (keys_of(&["o"]), keys_of(&["n"]), keys_of(&["n", "o"]));
    let sign = |keys: &PhoenixKeys| keys.sign(&json!(1), SIGNED_MS, DAY).unwrap();
    let verify = |keys: &PhoenixKeys, token: &str| {
        verifier_with(keys.clone(), PhoenixRules::default()).verify(token, SIGNED_MS).is_ok()
    };
    assert!(verify(&both, &sign(&old)) && verify(&both, &sign(&new)));
    assert!(verify(&new, &sign(&both)) && !verify(&old, &sign(&both)));
}

#[test]
fn another_salt_makes_other_keys() {
    let secrets = [Secret::from_text(&"x".repeat(64))];
    let keys = PhoenixKeys::derive(&secrets, "user sockets").unwrap();
    let verifier = verifier_with(keys, PhoenixRules::default());
    assert_eq!(verifier.verify(KNOWN, SIGNED_MS), Err(Refusal::BadSignature));
}

#[test]
fn the_user_is_the_data_or_a_key_of_it() {
    let users = [
        (json!("ada"), Some("ada")),
        (json!(42), Some("42")),
        (json!(-7), Some("-7")),
        (json!({"user_id": "ada", "role": "admin"}), Some("ada")),
        (json!({"user_id": 9_007_199_254_740_993_u64}), Some("9007199254740993")),
        (json!({"user_id": null}), None),
        (json!({"id": 1}), None),
        (json!([1, 2]), None),
        (json!(null), None),
        (json!(true), None),
        (json!(1.5), None),
    ];
    for (data, user) in users {
        let identity = verify_data(&data);
        assert_eq!(user_of(&identity), user, "{data}");
        assert_eq!(identity.unwrap().claims, data);
    }
    for data in [json!(""), json!({"user_id": {}}), json!({"user_id": 1.5})] {
        assert_eq!(verify_data(&data), Err(Refusal::BadUserId), "{data}");
    }
}

#[test]
fn the_key_of_the_user_is_configured() {
    let rules = PhoenixRules { user_id_key: "id".into(), ..PhoenixRules::default() };
    let token = keys().sign(&json!({"id": 1, "user_id": 2}), SIGNED_MS, DAY).unwrap();
    assert_eq!(user_of(&verifier_with(keys(), rules).verify(&token, SIGNED_MS)), Some("1"));
}

#[test]
fn damaged_tokens_are_refused() {
    let [header, payload, mac] = KNOWN.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let malformed = [
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{KNOWN}."),
        format!("{KNOWN}.{mac}"),
        format!("{header}.{payload}=.{mac}"),
        format!("{header}.{payload}.{mac}="),
        // The last character has bits that are not used.
        format!("{header}.{payload}.{}p", &mac[..mac.len() - 1]),
        format!("{header}.{payload}.{} ", mac),
    ];
    for token in malformed {
        let refusal = verify(&token, SIGNED_MS).unwrap_err();
        assert_eq!(refusal.reason(), "malformed", "{token}");
    }
    let forged = [
        format!("{header}.{payload}."),
        format!("{header}..{mac}"),
        format!("{header}.{payload}.{}", &mac[..40]),
        format!("SFMzODQ.{payload}.{mac}"),
        format!("{header}.{}.{mac}", payload.replacen('h', "i", 1)),
    ];
    for token in forged {
        assert_eq!(verify(&token, SIGNED_MS), Err(Refusal::BadSignature), "{token}");
    }
}

#[test]
fn data_too_deep_or_too_large_is_not_signed() {
    let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    assert!(verify_data(&deep(31)).is_ok());
    let map = json!({"a": 1});
    let nested = |levels| (0..levels).fold(map.clone(), |inner, _| json!([inner]));
    assert!(verify_data(&nested(30)).is_ok());
    let sign = |data: &Value| keys().sign(data, SIGNED_MS, DAY);
    assert!(sign(&deep(32)).unwrap_err().to_string().contains("too deep"));
    assert!(sign(&nested(31)).unwrap_err().to_string().contains("too deep"));
    let many = Value::from(vec![1; 5_000]);
    assert!(sign(&many).unwrap_err().to_string().contains("too many"));
}
