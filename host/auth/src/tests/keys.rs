//! Keys of the tests, and tokens made with them.

use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use serde_json::{Map, Value, json};

use crate::encoding::{decode_any_base64, encode_base64url};
use crate::{
    HmacAlgorithm, Identity, JwtKey, JwtRules, JwtSigner, JwtVerifier, KeySet, PublicKeyAlgorithm,
    Refusal, Secret, Verifier,
};

/// The time of the tests, in seconds and in milliseconds.
pub(super) const NOW_S: u64 = 1_764_288_000;
pub(super) const NOW_MS: u64 = NOW_S * 1_000;

/// A key of 2048 bits for these tests alone, made once with
/// `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`; without its PEM lines, so that
/// nobody takes it for one that matters.
const RSA_PRIVATE: &str = "
MIIEvwIBADANBgkqhkiG9w0BAQEFAASCBKkwggSlAgEAAoIBAQC8/0NRfUgJdtQU
Loxu5Yf3wEccOA/k2iN/vIMojRou9cNt+MFoVaO+9SiHLPGdWMiuBjtGcRib0Nhm
g5AGk0v7BCvBZquzI11+B5j3mm+x28CYBh+fiz7H4UGWZF/4QQa7YndeuVJ3FHFt
LNFC/DgIR7HVjpbQBuUfp9KHpdI4BhSDHpOZFjAC9MN/pF7nkqnsdLUxEGLe25oS
kxiLokg9CIm7i7JN/pKDTZbK2xb2qaSuwlm39a2+4OLRDBlhKzygJpt6EaQ6WVtD
eGr8kt4/APn0CIB3eI477f0XQmUf5ul4m2C4yI1cJRqbHGBRW4wlfr2H27HbCYCC
8jIVn1dPAgMBAAECggEAWwE7JBEET/JU+obTfk6t4wFF/HOOS68yKr7WFP+knPog
KWL/lkKufzPDWRuuGAr5TrqXbjrlE5pDqVEuV8wzaOJAQ3cxtCeSTC5SXN+Tavwa
x9ki/wropwxzLXyVrY96M16dhhIMgGRqnZxYAz45qNsE6YUoX3ECgPSpbkHNcMW/
Aqj/PrCwrJOyDxI2YGsVXjTuuBvt5sACLO2Svfy+riQ4W6ZWuNSSRXtpgxpI37zY
OOG8HrJk/8HzSFWrSY8CwW4e07wtOO1+M5LBtp6Z0dvYElwBJ6ZWMwQN/Rl+da0T
hpD7IpoXqRBD5MdkcasdqtU3UQcmozmt2ioO6zuZEQKBgQD7RXMvtdyBQmif0fiZ
D3oHmgpTMh5ibszKVYAYXCw2uvCy5uPJy4LWOcKxwdgNOuPH5eECjJpR5cK1cpLb
CkRv5wKvuAuUty3VfpLo2aFRLkJD4weoOY20CUGGADhRLVOXEGCKP67BK01otPvk
tb1gOrWyusUflUe2GsM7tzVS+QKBgQDAjctvP1MpETq6K/HmawOyrIpzit6ED/4g
BLlg77HNTxeEzNR5ZvbKS/qTqiPeY6a2JeNeWnX6S+IQkWtVf4zGYDTEoiiULAvR
j9WSzeIstjsIZ5fqfT8EyvSwYs3rr0/f434AgZvV8tlTaiDD1MwFAsx24R8sUnVS
zOgTjfTGhwKBgQCNpQjZzFsRQq5X6bWKEv9naZ6IZ6hZNLydErWzBcKm15r4PtAJ
4X9P5B+stOlmC9x7w0qkdT5JDIxGXOAMOi16J2+MPuPIYbqkr0WBna0iZkFUo5ad
blRDOTSGpXkZycNlVQYW6O9KVW69p8iXlRu8M1xZ9I9KzowuS8fi0dRtgQKBgQCH
yXaU1QtIAqZvc137J6xL6/EW2e9hIgYLfklcWqwAJK5pMCkGE94ler8SMwFoas29
1aopd5GLGMgq9uHCQVh87ItJvzDujMEo3021YQsGjNvEaYlwCzLNpnI3kPW2JsMl
F8BbiwriLYekk0rXztCxF/AoRUk+cEfcRDPE1m6vMQKBgQCKaZH+2//qgUjeoXdf
OcXP1JIeK1jY4Ztklud6rZROO/d4sZFXoHX5TMZbsFnqW4uUu3ysXVMVgnDsFdO8
uwrilfJlNzDmgC5E/PDtHlFBx9W/2JC9X5iN8WqlqUmNx5xE7gR9de5+5sTFukg8
RM6Cg6z4rBlMVvmo1pjZB/QO9g==
";

/// The public half of it, of `openssl pkey -pubout`.
pub(super) const RSA_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAvP9DUX1ICXbUFC6MbuWH
98BHHDgP5Nojf7yDKI0aLvXDbfjBaFWjvvUohyzxnVjIrgY7RnEYm9DYZoOQBpNL
+wQrwWarsyNdfgeY95pvsdvAmAYfn4s+x+FBlmRf+EEGu2J3XrlSdxRxbSzRQvw4
CEex1Y6W0AblH6fSh6XSOAYUgx6TmRYwAvTDf6Re55Kp7HS1MRBi3tuaEpMYi6JI
PQiJu4uyTf6Sg02WytsW9qmkrsJZt/WtvuDi0QwZYSs8oCabehGkOllbQ3hq/JLe
PwD59AiAd3iOO+39F0JlH+bpeJtguMiNXCUamxxgUVuMJX69h9ux2wmAgvIyFZ9X
TwIDAQAB
-----END PUBLIC KEY-----
";

pub(super) fn secret() -> Secret {
    Secret::from_text(&"s".repeat(64))
}

pub(super) fn hmac_key(algorithm: HmacAlgorithm) -> JwtKey {
    JwtKey::hmac(algorithm, &secret()).unwrap()
}

pub(super) fn signer(algorithm: HmacAlgorithm) -> JwtSigner {
    JwtSigner::new(algorithm, &secret(), None).unwrap()
}

pub(super) fn rsa_key(algorithm: PublicKeyAlgorithm) -> JwtKey {
    JwtKey::public(algorithm, RSA_PUBLIC).unwrap()
}

pub(super) fn key_set(keys: impl IntoIterator<Item = JwtKey>) -> KeySet {
    KeySet::new(keys.into_iter().collect()).unwrap()
}

/// A verifier of JWTs with the rules as they are by default.
pub(super) fn verifier(keys: impl IntoIterator<Item = JwtKey>) -> Verifier {
    Verifier::new().with_jwt(JwtVerifier::new(key_set(keys), JwtRules::default()))
}

/// The claims of the user `ada`, for an hour.
pub(super) fn claims() -> Map<String, Value> {
    object(json!({"sub": "ada", "exp": NOW_S + 3_600}))
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object: {value}") };
    members
}

pub(super) fn user_of(result: &Result<Identity, Refusal>) -> Option<&str> {
    result.as_ref().ok()?.user_id.as_deref()
}

/// A token of any header and claims, signed by any means.
pub(super) fn token(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let header = encode_base64url(header.as_bytes());
    let message = format!("{header}.{}", encode_base64url(claims.as_bytes()));
    format!("{message}.{}", encode_base64url(&sign(message.as_bytes())))
}

/// A token with these claims, signed with the secret of the tests and HS256.
pub(super) fn hs256(header: &str, claims: &str) -> String {
    token(header, claims, |message| {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret().bytes());
        ring::hmac::sign(&key, message).as_ref().to_vec()
    })
}

pub(super) fn rsa_signature(algorithm: PublicKeyAlgorithm, message: &[u8]) -> Vec<u8> {
    let padding: &'static dyn signature::RsaEncoding = match algorithm {
        PublicKeyAlgorithm::Rs256 => &signature::RSA_PKCS1_SHA256,
        PublicKeyAlgorithm::Rs384 => &signature::RSA_PKCS1_SHA384,
        PublicKeyAlgorithm::Rs512 => &signature::RSA_PKCS1_SHA512,
        PublicKeyAlgorithm::Ps256 => &signature::RSA_PSS_SHA256,
        PublicKeyAlgorithm::Ps384 => &signature::RSA_PSS_SHA384,
        PublicKeyAlgorithm::Ps512 => &signature::RSA_PSS_SHA512,
        other => panic!("{other:?} is not of RSA"),
    };
    let pair = RsaKeyPair::from_pkcs8(&decode_any_base64(RSA_PRIVATE).unwrap()).unwrap();
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

/// A new key pair of ECDSA, with its public key as a JWK.
pub(super) fn ecdsa_pair(algorithm: PublicKeyAlgorithm) -> (EcdsaKeyPair, Value) {
    let (fixed, curve) = match algorithm {
        PublicKeyAlgorithm::Es256 => (&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
        PublicKeyAlgorithm::Es384 => (&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
        other => panic!("{other:?} is not of ECDSA"),
    };
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(fixed, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(fixed, document.as_ref(), &random).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(pair.public_key().as_ref().len() / 2);
    let (x, y) = (encode_base64url(x), encode_base64url(y));
    (pair, json!({"kty": "EC", "crv": curve, "x": x, "y": y}))
}

pub(super) fn ecdsa_signature(pair: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

/// A new key pair of Ed25519, with its public key as a JWK.
pub(super) fn ed25519_pair() -> (Ed25519KeyPair, Value) {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let x = encode_base64url(pair.public_key().as_ref());
    (pair, json!({"kty": "OKP", "crv": "Ed25519", "x": x}))
}
