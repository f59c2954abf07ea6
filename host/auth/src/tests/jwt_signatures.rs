//! Signatures of JWTs: known ones, and each algorithm.

use serde_json::{Value, json};

use super::keys::{
    NOW_MS, claims, ecdsa_pair, ecdsa_signature, ed25519_pair, hmac_key, rsa_key, rsa_signature,
    signer, token, user_of, verifier,
};
use crate::{Algorithm, HmacAlgorithm, JwtKey, PublicKeyAlgorithm, Refusal, Secret};

/// The claims of RFC 7515, appendix A: `exp` is 1300819380.
const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const VALID_MS: u64 = 1_300_819_380_000;

fn check_known(key: JwtKey, header: &str, signature: &str) {
    let token = format!("{header}.{CLAIMS}.{signature}");
    let identity = verifier([key.clone()]).verify(&token, VALID_MS).unwrap();
    let claims = json!({"iss": "joe", "exp": 1_300_819_380, "http://example.com/is_root": true});
    assert_eq!(identity.claims, claims);
    assert_eq!(identity.user_id, None);
    assert_eq!(identity.expires_at_unix_ms, Some(VALID_MS + 30_000));
    let later = verifier([key]).verify(&token, VALID_MS + 30_000);
    assert_eq!(later, Err(Refusal::Expired));
}

#[test]
fn rfc_7515_appendix_a_1() {
    let secret = Secret::from_base64(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    );
    let key = JwtKey::hmac(HmacAlgorithm::Hs256, &secret.unwrap()).unwrap();
    let header = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    check_known(key, header, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

#[test]
fn rfc_7515_appendix_a_2() {
    let modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS\
        2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-b\
        Sf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwK\
        h9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpo\
        Q";
    let jwk = json!({"kty": "RSA", "n": modulus, "e": "AQAB"}).to_string();
    let key = JwtKey::public(PublicKeyAlgorithm::Rs256, &jwk).unwrap();
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0\
        Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6\
        xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7n\
        oOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe7\
        7Rw";
    check_known(key, "eyJhbGciOiJSUzI1NiJ9", signature);
}

#[test]
fn rfc_7515_appendix_a_3() {
    let (x, y) = (
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}).to_string();
    let key = JwtKey::public(PublicKeyAlgorithm::Es256, &jwk).unwrap();
    let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP\
        3-Kg6NU1Q";
    check_known(key, "eyJhbGciOiJFUzI1NiJ9", signature);
}

#[test]
fn rfc_8037_appendix_a_4() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x}).to_string();
    let key = JwtKey::public(PublicKeyAlgorithm::EdDsa, &jwk).unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    // The signature is right; what is signed is a sentence.
    let refusal = Refusal::Malformed("the claims are no JSON object");
    assert_eq!(verifier([key]).verify(token, NOW_MS), Err(refusal));
}

#[test]
fn each_algorithm_with_a_secret() {
    for algorithm in [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512] {
        let token = signer(algorithm).sign(&claims());
        let identity = verifier([hmac_key(algorithm)]).verify(&token, NOW_MS);
        assert_eq!(user_of(&identity), Some("ada"), "{algorithm:?}");
    }
}

fn header(algorithm: PublicKeyAlgorithm) -> String {
    json!({"alg": Algorithm::PublicKey(algorithm).name()}).to_string()
}

#[test]
fn each_algorithm_of_rsa() {
    let algorithms = [
        PublicKeyAlgorithm::Rs256,
        PublicKeyAlgorithm::Rs384,
        PublicKeyAlgorithm::Rs512,
        PublicKeyAlgorithm::Ps256,
        PublicKeyAlgorithm::Ps384,
        PublicKeyAlgorithm::Ps512,
    ];
    let claims = Value::Object(claims()).to_string();
    for algorithm in algorithms {
        let sign = |message: &[u8]| rsa_signature(algorithm, message);
        let token = token(&header(algorithm), &claims, sign);
        let identity = verifier([rsa_key(algorithm)]).verify(&token, NOW_MS);
        assert_eq!(user_of(&identity), Some("ada"), "{algorithm:?}");
        // The same key, pinned to the others.
        let others = algorithms.into_iter().filter(|other| *other != algorithm).map(rsa_key);
        let refused = verifier(others).verify(&token, NOW_MS);
        assert_eq!(refused, Err(Refusal::WrongAlgorithm), "{algorithm:?}");
    }
}

#[test]
fn each_curve() {
    let claims = Value::Object(claims()).to_string();
    for algorithm in [PublicKeyAlgorithm::Es256, PublicKeyAlgorithm::Es384] {
        let (pair, jwk) = ecdsa_pair(algorithm);
        let key = JwtKey::public(algorithm, &jwk.to_string()).unwrap();
        let sign = |message: &[u8]| ecdsa_signature(&pair, message);
        let token = token(&header(algorithm), &claims, sign);
        assert_eq!(user_of(&verifier([key]).verify(&token, NOW_MS)), Some("ada"));
    }
    let (pair, jwk) = ed25519_pair();
    for name in ["EdDSA", "Ed25519"] {
        let key = JwtKey::public(PublicKeyAlgorithm::EdDsa, &jwk.to_string()).unwrap();
        let sign = |message: &[u8]| pair.sign(message).as_ref().to_vec();
        let token = token(&json!({"alg": name}).to_string(), &claims, sign);
        assert_eq!(user_of(&verifier([key]).verify(&token, NOW_MS)), Some("ada"), "{name}");
    }
}
