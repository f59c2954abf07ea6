//! What holds for all tokens.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::keys::{
    NOW_MS, NOW_S, claims, ecdsa_pair, ecdsa_signature, hmac_key, rsa_key, signer, token, verifier,
};
use super::phoenix::{KNOWN, SIGNED_MS, keys, verifier_with};
use crate::etf::{decode, to_json};
use crate::{
    HmacAlgorithm, JwtKey, MaxAge, PhoenixRules, PhoenixVerifier, PublicKeyAlgorithm, Refusal,
    Verifier, parse_jwks,
};

/// JSON of a few levels.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        // Fractions that JSON has exactly.
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Both kinds of token, with keys of all algorithms.
fn all_keys() -> Verifier {
    let keys = [
        hmac_key(HmacAlgorithm::Hs256),
        rsa_key(PublicKeyAlgorithm::Rs256),
        rsa_key(PublicKeyAlgorithm::Ps256),
    ];
    verifier(keys)
        .with_phoenix(PhoenixVerifier::new(keys_without_rounds(), PhoenixRules::default()))
}

/// The keys of the tests, derived once: it takes a while.
fn keys_without_rounds() -> crate::PhoenixKeys {
    static KEYS: std::sync::LazyLock<crate::PhoenixKeys> = std::sync::LazyLock::new(keys);
    KEYS.clone()
}

proptest! {
    #[test]
    fn no_bytes_panic_as_a_term(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes).and_then(|term| to_json(&term));
        let _ = decode(&[&[131], bytes.as_slice()].concat()).and_then(|term| to_json(&term));
    }

    #[test]
    fn no_signed_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let bytes = [b"\x83h\x03".as_slice(), &bytes].concat();
        let token = keys_without_rounds().sign_term(&bytes);
        let _ = all_keys().verify(&token, NOW_MS);
    }

    #[test]
    fn no_text_panics_as_a_token(text in ".{0,200}", now in any::<u64>()) {
        for token in [text.clone(), format!("SFMyNTY.{text}"), format!("eyJhbGciOiJIUzI1NiJ9.{text}")] {
            prop_assert!(all_keys().verify(&token, now).is_err());
            let _ = all_keys().form(&token);
        }
        let _ = parse_jwks(text.as_bytes(), &[]);
        let _ = JwtKey::public(PublicKeyAlgorithm::Rs256, &text);
    }

    #[test]
    fn phoenix_data_comes_back(data in json_value()) {
        let token = keys_without_rounds().sign(&data, SIGNED_MS, MaxAge::default()).unwrap();
        match all_keys().with_max_token_bytes(usize::MAX).verify(&token, SIGNED_MS) {
            Ok(identity) => prop_assert_eq!(identity.claims, data),
            Err(refusal) => prop_assert_eq!(refusal, Refusal::BadUserId),
        }
    }

    #[test]
    fn claims_come_back(data in json_value()) {
        let mut claims = claims();
        claims.insert("data".to_owned(), data);
        let token = signer(HmacAlgorithm::Hs256).sign(&claims);
        let identity = all_keys().with_max_token_bytes(usize::MAX).verify(&token, NOW_MS);
        prop_assert_eq!(identity.unwrap().claims, Value::Object(claims));
    }

    #[test]
    fn a_token_is_refused_from_the_time_on_that_it_says(
        age in 1_u64..1_000_000,
        later in 0_u64..1_000_000_000,
    ) {
        let phoenix = keys_without_rounds().sign(&json!(1), SIGNED_MS, MaxAge::Seconds(age)).unwrap();
        let claims: Map<String, Value> = [("exp".to_owned(), json!(NOW_S + age))].into_iter().collect();
        for token in [phoenix, signer(HmacAlgorithm::Hs256).sign(&claims)] {
            let expires = all_keys().verify(&token, NOW_MS).unwrap().expires_at_unix_ms.unwrap();
            prop_assert!(all_keys().verify(&token, expires - 1).is_ok());
            prop_assert_eq!(all_keys().verify(&token, expires + later), Err(Refusal::Expired));
        }
    }
}

/// Flips each bit of a token, and looks for one that still verifies.
fn no_flipped_bit_verifies(verifier: &Verifier, token: &str) {
    assert!(verifier.verify(token, NOW_MS).is_ok());
    for at in 0..token.len() {
        for bit in 0..8 {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            if let Ok(flipped) = String::from_utf8(bytes) {
                assert!(verifier.verify(&flipped, NOW_MS).is_err(), "{flipped}");
            }
        }
        assert!(verifier.verify(&token[..at], NOW_MS).is_err());
        assert!(verifier.verify(&token[at + 1..], NOW_MS).is_err());
    }
}

#[test]
fn no_flipped_bit_of_a_phoenix_token_verifies() {
    no_flipped_bit_verifies(&verifier_with(keys(), PhoenixRules::default()), KNOWN);
}

#[test]
fn no_flipped_bit_of_a_jwt_verifies() {
    no_flipped_bit_verifies(&all_keys(), &signer(HmacAlgorithm::Hs256).sign(&claims()));
    let algorithm = PublicKeyAlgorithm::Es256;
    let (pair, jwk) = ecdsa_pair(algorithm);
    let claims = Value::Object(claims()).to_string();
    let token = token(r#"{"alg":"ES256"}"#, &claims, |message| ecdsa_signature(&pair, message));
    let key = JwtKey::public(algorithm, &jwk.to_string()).unwrap();
    no_flipped_bit_verifies(&verifier([key]), &token);
}
