//! Token → identity.

use std::sync::Arc;

use serde_json::{Map, Value};
use smol_str::SmolStr;

use super::header::Header;
use super::{JwtRules, KeySet, key_set};
use crate::encoding::decode_base64url;
use crate::{Identity, Refusal, json};

/// A verifier of JWTs, with the keys that are configured; none if all of them are fetched.
#[derive(Clone, Debug)]
pub struct JwtVerifier {
    keys: Arc<KeySet>,
    rules: JwtRules,
}

impl JwtVerifier {
    /// A verifier with these keys and rules.
    #[must_use]
    pub fn new(keys: KeySet, rules: JwtRules) -> Self {
        Self { keys: Arc::new(keys), rules }
    }

    /// The `kid` that the header of a token names. Nothing is verified.
    pub(crate) fn key_id(&self, token: &str) -> Result<Option<SmolStr>, Refusal> {
        Parts::of(token).and_then(|parts| Header::decode(parts.header)).map(|header| header.kid)
    }

    pub(crate) fn verify(
        &self,
        token: &str,
        fetched: Option<&KeySet>,
        now_unix_ms: u64,
    ) -> Result<Identity, Refusal> {
        let parts = Parts::of(token)?;
        let header = Header::decode(parts.header)?;
        let sets: Vec<&KeySet> = std::iter::once(&*self.keys).chain(fetched).collect();
        let keys = key_set::candidates(&sets, &header)?;
        let signature = decode_base64url(parts.signature)
            .ok_or(Refusal::Malformed("the signature is no base64url"))?;
        if !keys.iter().any(|key| key.verify(parts.message.as_bytes(), &signature)) {
            return Err(Refusal::BadSignature);
        }
        let claims = decode_base64url(parts.claims).and_then(|text| json::parse_object(&text));
        let claims = claims.ok_or(Refusal::Malformed("the claims are no JSON object"))?;
        self.rules.check(claims, now_unix_ms)
    }
}

/// The header and the claims of a token. Its signature is not looked at.
///
/// # Errors
///
/// One of them is no base64url of a JSON object.
pub(crate) fn read_unverified(token: &str) -> Result<[Map<String, Value>; 2], Refusal> {
    let parts = Parts::of(token)?;
    let object = |part| decode_base64url(part).and_then(|text| json::parse_object(&text));
    let header = object(parts.header).ok_or(Refusal::Malformed("the header is no JSON object"))?;
    let claims = object(parts.claims).ok_or(Refusal::Malformed("the claims are no JSON object"))?;
    Ok([header, claims])
}

/// The parts of a compact token.
struct Parts<'a> {
    /// What is signed: the first two parts with the dot between them.
    message: &'a str,
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, Refusal> {
        let three = Refusal::Malformed("a JWT has three parts; encrypted ones are not supported");
        let Some((message, signature)) = token.rsplit_once('.') else { return Err(three) };
        let Some((header, claims)) = message.split_once('.') else { return Err(three) };
        if claims.contains('.') {
            Err(three)
        } else {
            Ok(Self { message, header, claims, signature })
        }
    }
}
