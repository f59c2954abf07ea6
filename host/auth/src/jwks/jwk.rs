//! One JSON Web Key with a public key (RFC 7517, RFC 7518 section 6, RFC 8037).

use serde_json::{Map, Value};
use smol_str::SmolStr;

use crate::encoding::decode_base64url;
use crate::jwt::{Algorithm, MAX_KID_BYTES, PublicKey, PublicKeyAlgorithm};
use crate::{ConfigError, json};

/// A key as it stands in a JWK.
#[derive(Clone, Debug)]
pub(crate) struct Jwk {
    pub(crate) kid: Option<SmolStr>,
    /// The `alg`, if there is one: `Some(None)` for one that no public key verifies with here.
    pub(crate) algorithm: Option<Option<PublicKeyAlgorithm>>,
    pub(crate) public_key: PublicKey,
}

const MALFORMED: ConfigError =
    ConfigError::PublicKey("its JWK lacks a member, or one is malformed");

impl Jwk {
    /// Parses the text of one key.
    ///
    /// # Errors
    ///
    /// The text is no JWK with a public key that can verify signatures here.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        let members = json::parse_object(text.as_bytes()).ok_or(ConfigError::PublicKeyForm)?;
        Self::of_members(&members)
    }

    pub(super) fn of_members(members: &Map<String, Value>) -> Result<Self, ConfigError> {
        if members.contains_key("d") {
            return Err(ConfigError::PrivateKey);
        }
        let is_for_signatures = text(members, "use")?.is_none_or(|usage| usage == "sig")
            && members.get("key_ops").is_none_or(allows_verify);
        if !is_for_signatures {
            let problem = "its JWK is not for signatures (`use`, `key_ops`); take the one that is";
            return Err(ConfigError::PublicKey(problem));
        }
        let algorithm = text(members, "alg")?.map(|name| match name.parse() {
            Ok(Algorithm::PublicKey(algorithm)) => Some(algorithm),
            Ok(Algorithm::Hmac(_)) | Err(_) => None,
        });
        let kid = match text(members, "kid")? {
            Some(kid) if !(1..=MAX_KID_BYTES).contains(&kid.len()) => {
                return Err(ConfigError::KeyId { found: kid.len(), max: MAX_KID_BYTES });
            }
            kid => kid.map(SmolStr::from),
        };
        Ok(Self { kid, algorithm, public_key: public_key(members)? })
    }
}

fn public_key(members: &Map<String, Value>) -> Result<PublicKey, ConfigError> {
    let curve = text(members, "crv")?;
    match (text(members, "kty")?, curve) {
        (Some("RSA"), _) => PublicKey::rsa(&bytes(members, "n")?, &bytes(members, "e")?),
        (Some("EC"), Some("P-256")) => PublicKey::p256(&point(members)?),
        (Some("EC"), Some("P-384")) => PublicKey::p384(&point(members)?),
        (Some("OKP"), Some("Ed25519")) => PublicKey::ed25519(&bytes(members, "x")?),
        (Some("oct"), _) => {
            let problem = "its JWK is a shared secret (`oct`), which nobody publishes: give it as \
                the secret of an HS algorithm";
            Err(ConfigError::PublicKey(problem))
        }
        _ => {
            let problem =
                "`kty` RSA, EC with `crv` P-256 or P-384, and OKP with Ed25519 are allowed";
            Err(ConfigError::PublicKey(problem))
        }
    }
}

/// A point that is not compressed, of `x` and `y`, which both have the length of the curve's
/// field, zeros in front included.
fn point(members: &Map<String, Value>) -> Result<Vec<u8>, ConfigError> {
    let (x, y) = (bytes(members, "x")?, bytes(members, "y")?);
    if x.len() != y.len() {
        return Err(MALFORMED);
    }
    Ok([&[4], x.as_slice(), y.as_slice()].concat())
}

fn allows_verify(operations: &Value) -> bool {
    operations.as_array().is_some_and(|names| names.iter().any(|name| name == "verify"))
}

fn bytes(members: &Map<String, Value>, name: &str) -> Result<Vec<u8>, ConfigError> {
    text(members, name)?.and_then(decode_base64url).ok_or(MALFORMED)
}

/// A member that is text if it is there.
fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Result<Option<&'m str>, ConfigError> {
    members.get(name).map(|value| value.as_str().ok_or(MALFORMED)).transpose()
}
