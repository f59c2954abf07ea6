//! Claims of JWTs: times and their edges, issuer, audience, user, what is malformed.

use serde_json::{Value, json};

use super::keys::{NOW_MS, NOW_S, hmac_key, hs256, key_set, user_of};
use crate::{HmacAlgorithm, Identity, JwtRules, JwtVerifier, Refusal, Verifier};

fn verify_text(rules: JwtRules, claims: &str) -> Result<Identity, Refusal> {
    let keys = key_set([hmac_key(HmacAlgorithm::Hs256)]);
    let verifier = Verifier::new().with_jwt(JwtVerifier::new(keys, rules));
    verifier.verify(&hs256(r#"{"alg":"HS256"}"#, claims), NOW_MS)
}

/// What comes of claims under rules; `exp` is added.
fn verify_with(rules: JwtRules, mut claims: Value) -> Result<Identity, Refusal> {
    claims["exp"] = json!(NOW_S + 60);
    verify_text(rules, &claims.to_string())
}

fn verify(claims: &Value) -> Result<Identity, Refusal> {
    verify_text(JwtRules::default(), &claims.to_string())
}

#[test]
fn exp_with_its_leeway() {
    let expires = |exp: u64| verify(&json!({"exp": exp})).map(|found| found.expires_at_unix_ms);
    assert_eq!(expires(NOW_S + 1), Ok(Some(NOW_MS + 31_000)));
    assert_eq!(expires(NOW_S - 29), Ok(Some(NOW_MS + 1_000)));
    assert_eq!(expires(NOW_S - 30), Err(Refusal::Expired));
    assert_eq!(expires(0), Err(Refusal::Expired));
    let rules = JwtRules { leeway_s: 0, ..JwtRules::default() };
    let exactly = json!({"exp": NOW_S}).to_string();
    assert_eq!(verify_text(rules.clone(), &exactly), Err(Refusal::Expired));
    let rules = JwtRules { leeway_s: 1, ..rules };
    assert!(verify_text(rules, &exactly).is_ok());
}

#[test]
fn nbf_with_its_leeway() {
    let verify = |nbf: u64| verify(&json!({"exp": NOW_S + 600, "nbf": nbf})).map(|_| ());
    assert_eq!(verify(NOW_S + 30), Ok(()));
    assert_eq!(verify(NOW_S + 31), Err(Refusal::NotYetValid));
    assert_eq!(verify(0), Ok(()));
}

#[test]
fn exp_is_required_unless_configured_otherwise() {
    assert_eq!(verify(&json!({"sub": "ada"})), Err(Refusal::MissingClaim("exp")));
    let rules = JwtRules { require_expiry: false, ..JwtRules::default() };
    let identity = verify_text(rules.clone(), r#"{"sub":"ada"}"#);
    assert_eq!(identity.unwrap().expires_at_unix_ms, None);
    assert_eq!(verify_text(rules.clone(), r#"{"exp":1}"#), Err(Refusal::Expired));
    assert_eq!(verify_text(rules, r#"{"exp":"1"}"#), Err(Refusal::BadClaim("exp")));
}

#[test]
fn malformed_times_are_refused() {
    let malformed = [
        "\"1900000000\"",
        "1900000000.0",
        "1.9e9",
        "1900000000.5",
        "-1",
        "-0",
        "null",
        "true",
        "[1900000000]",
        "{}",
        // Milliseconds, and what is beyond.
        "1764288000000",
        "253402300800",
        "18446744073709551615",
        "18446744073709551616",
        "1e300",
    ];
    for time in malformed {
        let claims = format!(r#"{{"exp":{time}}}"#);
        let refusal = verify_text(JwtRules::default(), &claims).unwrap_err();
        assert_eq!(refusal, Refusal::BadClaim("exp"), "{time}");
        let claims = format!(r#"{{"exp":1900000000,"nbf":{time}}}"#);
        let refusal = verify_text(JwtRules::default(), &claims).unwrap_err();
        assert_eq!(refusal, Refusal::BadClaim("nbf"), "{time}");
    }
    let latest = verify(&json!({"exp": 253_402_300_799_u64})).unwrap();
    assert_eq!(latest.expires_at_unix_ms, Some(253_402_300_799_000 + 30_000));
}

#[test]
fn iat_is_not_looked_at() {
    for iat in [json!(NOW_S + 10_000), json!("x"), json!(null)] {
        assert!(verify_with(JwtRules::default(), json!({"iat": iat})).is_ok());
    }
}

#[test]
fn the_issuer_is_one_of_the_configured() {
    let rules =
        JwtRules { issuers: vec!["https://a".to_owned(), "b".to_owned()], ..JwtRules::default() };
    let verify = |claims| verify_with(rules.clone(), claims).map(|_| ());
    assert_eq!(verify(json!({"iss": "https://a"})), Ok(()));
    assert_eq!(verify(json!({"iss": "b"})), Ok(()));
    for other in ["https://a/", "B", "", "ab"] {
        assert_eq!(verify(json!({"iss": other})), Err(Refusal::WrongIssuer), "{other}");
    }
    assert_eq!(verify(json!({})), Err(Refusal::MissingClaim("iss")));
    for malformed in [json!(["b"]), json!(1), json!(null), json!({"b": 1})] {
        assert_eq!(verify(json!({"iss": malformed})), Err(Refusal::BadClaim("iss")));
        let any = verify_with(JwtRules::default(), json!({"iss": malformed}));
        assert_eq!(any, Err(Refusal::BadClaim("iss")));
    }
    assert!(verify_with(JwtRules::default(), json!({"iss": "anybody"})).is_ok());
}

#[test]
fn the_audience_has_one_of_the_configured() {
    let rules =
        JwtRules { audiences: vec!["chat".to_owned(), "live".to_owned()], ..JwtRules::default() };
    let verify = |claims| verify_with(rules.clone(), claims).map(|_| ());
    assert_eq!(verify(json!({"aud": "chat"})), Ok(()));
    assert_eq!(verify(json!({"aud": ["other", "live"]})), Ok(()));
    for other in [json!("other"), json!([]), json!(["other"]), json!("")] {
        assert_eq!(verify(json!({"aud": other})), Err(Refusal::WrongAudience), "{other}");
    }
    assert_eq!(verify(json!({})), Err(Refusal::MissingClaim("aud")));
    for malformed in
        [json!(1), json!(null), json!({"chat": 1}), json!(["chat", 1]), json!([["chat"]])]
    {
        assert_eq!(verify(json!({"aud": malformed})), Err(Refusal::BadClaim("aud")));
    }
}

#[test]
fn a_token_for_an_audience_is_refused_where_none_is_configured() {
    let refused = verify_with(JwtRules::default(), json!({"aud": "other"}));
    assert_eq!(refused, Err(Refusal::WrongAudience));
    assert!(verify_with(JwtRules::default(), json!({})).is_ok());
}

#[test]
fn the_user_is_the_configured_claim() {
    let user = |claims| verify_with(JwtRules::default(), claims);
    assert_eq!(user_of(&user(json!({"sub": "ada"}))), Some("ada"));
    assert_eq!(user_of(&user(json!({"sub": 7}))), Some("7"));
    assert_eq!(user(json!({"id": 7})).unwrap().user_id, None);
    for malformed in [json!(""), json!([]), json!(1.5), json!(true), json!("x".repeat(257))] {
        assert_eq!(user(json!({"sub": malformed})), Err(Refusal::BadUserId));
    }
    let rules = JwtRules { user_id_claim: "https://x.org/id".into(), ..JwtRules::default() };
    let claims = json!({"sub": "ada", "https://x.org/id": "eve"});
    assert_eq!(user_of(&verify_with(rules, claims)), Some("eve"));
}

#[test]
fn claims_are_one_object_with_distinct_names() {
    let exp = NOW_S + 60;
    for claims in [
        format!(r#"{{"exp":{exp},"sub":"ada","sub":"root"}}"#),
        format!(r#"{{"exp":{exp},"ex\u0070":{exp}}}"#),
        format!(r#"{{"exp":{exp},"role":{{"a":1,"a":2}}}}"#),
        format!(r#"[{{"exp":{exp}}}]"#),
        format!(r#"{{"exp":{exp}}}{{"exp":{exp}}}"#),
        format!(r#"{{"exp":{exp},"deep":{}{}}}"#, "[".repeat(500), "]".repeat(500)),
        format!(r#"{{"exp":{exp},"n":1e999}}"#),
        format!("\u{feff}{{\"exp\":{exp}}}"),
        String::new(),
    ] {
        let refusal = verify_text(JwtRules::default(), &claims).unwrap_err();
        assert_eq!(refusal, Refusal::Malformed("the claims are no JSON object"), "{claims}");
    }
}
