//! The time of Phoenix tokens: their age, its edges, older forms.

use serde_json::json;

use super::keys::user_of;
use super::phoenix::{DAY, KNOWN, SIGNED_MS, keys, verifier_with, verify};
use crate::{MaxAge, PhoenixRules, Refusal};

#[test]
fn a_token_is_valid_at_its_very_age_and_refused_after_it() {
    let end = SIGNED_MS + 86_400_000;
    assert!(verify(KNOWN, end).is_ok());
    assert_eq!(verify(KNOWN, end + 1), Err(Refusal::Expired));
    assert_eq!(verify(KNOWN, u64::MAX), Err(Refusal::Expired));
}

#[test]
fn a_token_of_the_future_is_not_valid_yet() {
    assert_eq!(verify(KNOWN, SIGNED_MS - 1), Err(Refusal::NotYetValid));
    assert_eq!(verify(KNOWN, 0), Err(Refusal::NotYetValid));
}

#[test]
fn the_age_of_the_verifier_wins() {
    let verify = |max_age, now| {
        let rules = PhoenixRules { max_age: Some(max_age), ..PhoenixRules::default() };
        verifier_with(keys(), rules).verify(KNOWN, now).map(|identity| identity.expires_at_unix_ms)
    };
    let minute = MaxAge::Seconds(60);
    assert_eq!(verify(minute, SIGNED_MS + 60_000), Ok(Some(SIGNED_MS + 60_001)));
    assert_eq!(verify(minute, SIGNED_MS + 60_001), Err(Refusal::Expired));
    assert!(verify(MaxAge::Seconds(90_000), SIGNED_MS + 90_000_000).is_ok());
    assert_eq!(verify(MaxAge::Seconds(0), SIGNED_MS), Err(Refusal::Expired));
    assert_eq!(verify(MaxAge::Infinite, u64::MAX), Ok(None));
    assert_eq!(verify(MaxAge::Infinite, 0), Ok(None));
    assert_eq!(verify(MaxAge::Seconds(u64::MAX), u64::MAX), Ok(Some(u64::MAX)));
}

#[test]
fn ages_of_tokens() {
    let verify = |max_age, now| {
        let token = keys().sign(&json!("ada"), SIGNED_MS, max_age).unwrap();
        verify(&token, now).map(|identity| identity.expires_at_unix_ms)
    };
    assert_eq!(verify(MaxAge::Infinite, 0), Ok(None));
    assert_eq!(verify(MaxAge::Seconds(0), SIGNED_MS), Err(Refusal::Expired));
    assert_eq!(verify(MaxAge::Seconds(1), SIGNED_MS + 1_000), Ok(Some(SIGNED_MS + 1_001)));
    assert_eq!(verify(DAY, SIGNED_MS), Ok(Some(SIGNED_MS + 86_400_001)));
}

/// What a term comes to that is signed as it is, a second after the known time of signing.
fn verify_term(parts: &[&[u8]]) -> Result<Option<u64>, Refusal> {
    let identity = verify(&keys().sign_term(&parts.concat()), SIGNED_MS + 1_000);
    if identity.is_ok() {
        assert_eq!(user_of(&identity), Some("ada"));
    }
    identity.map(|identity| identity.expires_at_unix_ms)
}

const ADA: &[u8] = b"m\0\0\0\x03ada";
const SIGNED: &[u8] = &[110, 6, 0, 0, 112, 194, 199, 154, 1];

#[test]
fn older_forms_are_valid_for_a_day() {
    let day = Ok(Some(SIGNED_MS + 86_400_001));
    assert_eq!(verify_term(&[b"\x83h\x02", ADA, SIGNED]), day);
    let map = [b"\x83t\0\0\0\x02d\0\x04data", ADA, b"s\x06signed", SIGNED];
    assert_eq!(verify_term(&map), day);
    let map = [b"\x83t\0\0\0\x02w\x06signed", SIGNED, b"v\0\x04data", ADA];
    assert_eq!(verify_term(&map), day);
}

#[test]
fn ages_may_have_fractions() {
    let float = |age: f64| [&[70], age.to_be_bytes().as_slice()].concat();
    let verify = |age: f64| verify_term(&[b"\x83h\x03", ADA, SIGNED, &float(age)]);
    assert_eq!(verify(1.0005), Ok(Some(SIGNED_MS + 1_001)));
    assert_eq!(verify(0.9999), Err(Refusal::Expired));
    assert_eq!(verify(-0.0), Err(Refusal::Expired));
    assert_eq!(verify(f64::MIN), Err(Refusal::Expired));
    assert_eq!(verify(f64::MAX), Ok(Some(u64::MAX)));
    assert_eq!(verify(f64::NAN).unwrap_err().reason(), "malformed");
    assert_eq!(verify(f64::INFINITY).unwrap_err().reason(), "malformed");
}

#[test]
fn terms_of_other_forms_are_refused() {
    let minus_one: &[u8] = &[98, 255, 255, 255, 255];
    assert_eq!(verify_term(&[b"\x83h\x03", ADA, SIGNED, minus_one]), Err(Refusal::Expired));
    // Signed before 1970.
    assert_eq!(verify_term(&[b"\x83h\x02", ADA, minus_one]), Err(Refusal::Expired));
    let malformed: [&[&[u8]]; 10] = [
        &[b"\x83", ADA],
        &[b"\x83h\x01", ADA],
        &[b"\x83h\x04", ADA, SIGNED, b"a\x01", b"a\x01"],
        &[b"\x83l\0\0\0\x02", ADA, SIGNED, b"j"],
        &[b"\x83h\x03", ADA, ADA, b"a\x01"],
        &[b"\x83h\x03", ADA, SIGNED, ADA],
        &[b"\x83h\x03", ADA, SIGNED, b"w\x03nil"],
        &[b"\x83t\0\0\0\x01w\x04data", ADA],
        // The keys are binaries.
        &[b"\x83t\0\0\0\x02m\0\0\0\x04data", ADA, b"m\0\0\0\x06signed", SIGNED],
        &[b"\x83t\0\0\0\x03w\x04data", ADA, b"d\0\x04data", ADA, b"w\x06signed", SIGNED],
    ];
    for parts in malformed {
        assert_eq!(verify_term(parts).unwrap_err().reason(), "malformed", "{parts:?}");
    }
}
