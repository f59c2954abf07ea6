//! The header of a token: what chooses its key.

use serde_json::Value;
use smol_str::SmolStr;

use super::{Algorithm, MAX_KID_BYTES};
use crate::encoding::decode_base64url;
use crate::{Refusal, json};

/// The length of an encoded header at most, in bytes. It is parsed before anything is verified.
const MAX_HEADER_BYTES: usize = 2 * 1024;

/// What of a header is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<SmolStr>,
}

impl Header {
    /// Decodes the first part of a token.
    ///
    /// # Errors
    ///
    /// The part is no header, names an algorithm that is not supported, or has `crit`.
    pub(super) fn decode(part: &str) -> Result<Self, Refusal> {
        if part.len() > MAX_HEADER_BYTES {
            return Err(Refusal::TooLarge { bytes: part.len(), max: MAX_HEADER_BYTES });
        }
        let text =
            decode_base64url(part).ok_or(Refusal::Malformed("the header is no base64url"))?;
        let members =
            json::parse_object(&text).ok_or(Refusal::Malformed("the header is no JSON object"))?;
        if members.contains_key("crit") {
            return Err(Refusal::CriticalHeader);
        }
        let algorithm = match members.get("alg") {
            Some(Value::String(name)) => name.parse().map_err(|_| Refusal::WrongAlgorithm)?,
            _ => return Err(Refusal::Malformed("the header has no `alg`")),
        };
        let kid = match members.get("kid") {
            None => None,
            Some(Value::String(kid)) if (1..=MAX_KID_BYTES).contains(&kid.len()) => {
                Some(SmolStr::from(kid.as_str()))
            }
            Some(_) => return Err(Refusal::Malformed("the `kid` of the header")),
        };
        Ok(Self { algorithm, kid })
    }
}
