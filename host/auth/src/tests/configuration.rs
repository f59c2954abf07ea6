//! Keys and secrets as people give them.

use serde_json::json;

use super::keys::{RSA_PUBLIC, ecdsa_pair, rsa_key, secret, signer};
use crate::encoding::encode_base64url;
use crate::{
    Algorithm, ConfigError, HmacAlgorithm, JwtKey, KeySet, KeyType, MAX_KEYS, PublicKeyAlgorithm,
    Secret,
};

const RS256: PublicKeyAlgorithm = PublicKeyAlgorithm::Rs256;

/// Public keys for the form alone, made with `openssl genpkey -algorithm … | openssl pkey -pubout`.
const P256_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEsod54Qd0RWgeX0b6zt24+v911+YQ
tWK5AtawFxafx9KdDcdYVdRzYqpkjMbiB5JLTQFeRBXn9XtymBf8FopSbQ==
-----END PUBLIC KEY-----
";
const P384_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEzholDdYS1mvy5cpzbyka59/yFJ6vj0Z1
uD+3fvV21yMH1jAKOeYG3z2JW28YaKW7zYmo/WjWf0YYMAHacQB4WdtcLGWPh/Nn
1Q68zQlO1phkxkkxU/HC/iyDbo5cPW9o
-----END PUBLIC KEY-----
";
const P521_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBG9hEb98JmiyyfoEjm/OuzqF4h5dm
51A7Zplc+LcFGqSU/jO8nDemHMlfRxxqlXKnaOP8BatMNRrUeInnpSJV5M0B7B75
Y8g+qKY6dorJvSBHO6U27+Hi6AR2w14deHn5St/JTdNOYd0yNVUCjBfTUuonbNak
2vHGXKRdDPzrjMtw0Dw=
-----END PUBLIC KEY-----
";
const ED25519_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAjDTeeezNniZ04MRuK3LeDlTXyeRT1/JHwp5nZUX/bOA=
-----END PUBLIC KEY-----
";
const X25519_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VuAyEA3CAYdLZ07a/Ktgx6iy7jcMOH73Y3GJtLmejFgIlQ6FA=
-----END PUBLIC KEY-----
";
const RSA_1024_PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC5bXE/uAy8oC3Be/BCViFdAGAV
e8wcGPxQr/42X8fHjkQgNvnOR5M5gYGm6I2/EFcG5FhEMkDu0X6+fCbv7ra96Fb9
XvWARsxvreYbJ/iPCRvNGoFwIgQhuse9gSydXxEsetWstbBUuWwa1PbBdbKczXNw
NGnYcgjpffdAXjP1WwIDAQAB
-----END PUBLIC KEY-----
";

fn public(algorithm: PublicKeyAlgorithm, text: &str) -> ConfigError {
    JwtKey::public(algorithm, text).unwrap_err()
}

#[test]
fn public_keys_in_pem() {
    let keys = [
        (PublicKeyAlgorithm::Es256, P256_PUBLIC),
        (PublicKeyAlgorithm::Es384, P384_PUBLIC),
        (PublicKeyAlgorithm::EdDsa, ED25519_PUBLIC),
        (PublicKeyAlgorithm::Ps512, RSA_PUBLIC),
    ];
    for (algorithm, text) in keys {
        let key = JwtKey::public(algorithm, text).unwrap();
        assert_eq!((key.algorithm(), key.kid()), (Algorithm::PublicKey(algorithm), None));
        let indented = format!("My key:\n{}\n", text.replace('\n', "\r\n   "));
        assert!(JwtKey::public(algorithm, &indented).is_ok());
    }
}

#[test]
fn keys_and_algorithms_go_together() {
    let keys = [
        (P256_PUBLIC, KeyType::P256),
        (P384_PUBLIC, KeyType::P384),
        (ED25519_PUBLIC, KeyType::Ed25519),
    ];
    for (text, found) in keys {
        let (algorithm, needed) = ("RS256", KeyType::Rsa);
        assert_eq!(public(RS256, text), ConfigError::KeyAlgorithm { algorithm, needed, found });
    }
    let error = public(PublicKeyAlgorithm::Es256, RSA_PUBLIC).to_string();
    assert_eq!(
        error,
        "ES256 needs a key of the curve P-256, found an RSA key: change the algorithm or the key"
    );
}

#[test]
fn keys_that_are_not_allowed_say_why() {
    let unsupported = "RSA, the curves P-256 and P-384, and Ed25519 are allowed";
    for text in [P521_PUBLIC, X25519_PUBLIC] {
        assert_eq!(public(RS256, text), ConfigError::PublicKey(unsupported));
    }
    assert!(public(RS256, RSA_1024_PUBLIC).to_string().contains("2048 to 8192 bits"));
    for text in ["", "ssh-ed25519 AAAA", "MIIBIjANBg", "-----BEGIN PUBLIC KEY", "{\"kty\""] {
        assert_eq!(public(RS256, text), ConfigError::PublicKeyForm, "{text}");
    }
    let labelled = |label: &str| RSA_PUBLIC.replace("PUBLIC KEY", label);
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        assert_eq!(public(RS256, &labelled(label)), ConfigError::PrivateKey);
    }
    assert!(public(RS256, &labelled("CERTIFICATE")).to_string().contains("openssl x509"));
    assert!(public(RS256, &labelled("RSA PUBLIC KEY")).to_string().contains("openssl rsa"));
    let two = format!("{RSA_PUBLIC}{RSA_PUBLIC}");
    assert!(public(RS256, &two).to_string().contains("several"));
}

#[test]
fn damaged_keys_are_refused() {
    let body: String = RSA_PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
    let der = crate::encoding::decode_any_base64(&body).unwrap();
    let pem = |der: &[u8]| {
        let body = encode_base64url(der);
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----")
    };
    assert!(JwtKey::public(RS256, &pem(&der)).is_ok());
    for length in 0..der.len() {
        assert!(JwtKey::public(RS256, &pem(&der[..length])).is_err(), "{length}");
    }
    assert!(JwtKey::public(RS256, &pem(&[&der[..], &[0]].concat())).is_err());
    for at in 0..40 {
        let mut der = der.clone();
        der[at] ^= 0x55;
        let _ = JwtKey::public(RS256, &pem(&der));
    }
}

#[test]
fn a_jwk_brings_its_kid_and_holds_to_its_algorithm() {
    let (_, mut jwk) = ecdsa_pair(PublicKeyAlgorithm::Es256);
    jwk["kid"] = json!("k");
    let es256 =
        |jwk: &serde_json::Value| JwtKey::public(PublicKeyAlgorithm::Es256, &jwk.to_string());
    assert_eq!(es256(&jwk).unwrap().kid(), Some("k"));
    jwk["alg"] = json!("ES256");
    assert!(es256(&jwk).is_ok());
    for other in ["ES384", "HS256", "ECDH-ES"] {
        jwk["alg"] = json!(other);
        assert_eq!(es256(&jwk).unwrap_err(), ConfigError::JwkAlgorithm("ES256"));
    }
    jwk["d"] = json!("AA");
    assert_eq!(es256(&jwk).unwrap_err(), ConfigError::PrivateKey);
}

#[test]
fn secrets_have_the_length_of_the_digest() {
    let key = |algorithm, bytes| JwtKey::hmac(algorithm, &Secret::from_text(&"x".repeat(bytes)));
    for algorithm in [HmacAlgorithm::Hs256, HmacAlgorithm::Hs384, HmacAlgorithm::Hs512] {
        let min = algorithm.min_secret_bytes();
        assert!(key(algorithm, min).is_ok());
        let error = key(algorithm, min - 1).unwrap_err().to_string();
        let start = format!("the secret of an HS algorithm has {} bytes; at least {min}", min - 1);
        assert!(error.starts_with(&start), "{error}");
    }
    let jwk = Secret::from_text(&json!({"kty": "oct", "k": "x".repeat(64)}).to_string());
    let error = JwtKey::hmac(HmacAlgorithm::Hs256, &jwk).unwrap_err();
    assert_eq!(error, ConfigError::SecretIsKey);
}

#[test]
fn ids_and_sets_are_bounded() {
    let key = rsa_key(RS256);
    assert!(key.clone().with_kid(&"k".repeat(256)).is_ok());
    for found in [0, 257] {
        let error = key.clone().with_kid(&"k".repeat(found)).unwrap_err();
        assert_eq!(error, ConfigError::KeyId { found, max: 256 });
    }
    assert!(KeySet::new(vec![key.clone(); MAX_KEYS]).is_ok());
    let error = KeySet::new(vec![key; MAX_KEYS + 1]).unwrap_err();
    assert_eq!(error, ConfigError::TooManyKeys { found: MAX_KEYS + 1, max: MAX_KEYS });
}

#[test]
fn nothing_shows_a_key() {
    let key = JwtKey::hmac(HmacAlgorithm::Hs256, &secret()).unwrap().with_kid("k").unwrap();
    assert_eq!(format!("{key:?}"), r#"JwtKey { algorithm: "HS256", kid: Some("k") }"#);
    assert_eq!(format!("{:?}", signer(HmacAlgorithm::Hs256)), "JwtSigner(HS256)");
}
