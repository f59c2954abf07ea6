//! Which kind a token is, and its length.

use super::keys::{NOW_MS, claims, hmac_key, signer, verifier};
use super::phoenix::{KNOWN, keys, verifier_with};
use crate::{
    HmacAlgorithm, JwtSigner, PhoenixRules, PhoenixVerifier, Refusal, Secret, TokenForm, TokenKind,
    Verifier,
};

#[test]
fn both_kinds_are_told_apart() {
    let jwt = signer(HmacAlgorithm::Hs256).sign(&claims());
    let both = verifier([hmac_key(HmacAlgorithm::Hs256)])
        .with_phoenix(PhoenixVerifier::new(keys(), PhoenixRules::default()));
    assert!(both.verify(KNOWN, NOW_MS).is_ok());
    assert!(both.verify(&jwt, NOW_MS).is_ok());
    assert_eq!(both.form(KNOWN), Ok(TokenForm::Phoenix));
    assert_eq!(both.form(&jwt), Ok(TokenForm::Jwt { kid: None }));
    let secret = Secret::from_text(&"s".repeat(64));
    let signer = JwtSigner::new(HmacAlgorithm::Hs256, &secret, Some("k".into())).unwrap();
    assert_eq!(both.form(&signer.sign(&claims())), Ok(TokenForm::Jwt { kid: Some("k".into()) }));
    for other in ["", "SFMyNTY", "SFMyNTZ.a.b", "sfmyNTY.a.b", "QTEyOEdDTQ.a.b.c.d"] {
        assert_eq!(both.verify(other, NOW_MS).unwrap_err().reason(), "malformed", "{other}");
    }
}

#[test]
fn a_kind_without_keys_is_not_accepted() {
    let jwt = signer(HmacAlgorithm::Hs256).sign(&claims());
    let phoenix = verifier_with(keys(), PhoenixRules::default());
    let refusal = Refusal::KindNotAccepted(TokenKind::Jwt);
    assert_eq!(phoenix.verify(&jwt, NOW_MS), Err(refusal.clone()));
    assert_eq!(phoenix.form(&jwt), Err(refusal));
    let refusal = Refusal::KindNotAccepted(TokenKind::Phoenix);
    let jwts = verifier([hmac_key(HmacAlgorithm::Hs256)]);
    assert_eq!(jwts.verify(KNOWN, NOW_MS), Err(refusal.clone()));
    assert_eq!(jwts.form(KNOWN), Err(refusal));
    assert_eq!(Verifier::new().verify(KNOWN, NOW_MS).unwrap_err().reason(), "kind_not_accepted");
}

#[test]
fn the_length_is_bounded() {
    let verifier = verifier_with(keys(), PhoenixRules::default());
    let exact = verifier.clone().with_max_token_bytes(KNOWN.len());
    assert!(exact.verify(KNOWN, NOW_MS).is_ok());
    let refusal = Refusal::TooLarge { bytes: KNOWN.len(), max: KNOWN.len() - 1 };
    let less = verifier.clone().with_max_token_bytes(KNOWN.len() - 1);
    assert_eq!(less.verify(KNOWN, NOW_MS), Err(refusal.clone()));
    assert_eq!(less.form(KNOWN), Err(refusal));
    let long = "x".repeat(8_193);
    let refusal = Refusal::TooLarge { bytes: 8_193, max: 8_192 };
    assert_eq!(verifier.verify(&long, NOW_MS), Err(refusal));
}
