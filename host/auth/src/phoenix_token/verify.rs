//! Token → identity.

use serde_json::Value;
use smol_str::SmolStr;

use super::age::Age;
use super::{DEFAULT_MAX_AGE_S, MaxAge, PhoenixKeys};
use crate::encoding::decode_base64url;
use crate::etf::{self, Term};
use crate::identity::user_id;
use crate::{Identity, Refusal};

/// What is demanded of a Phoenix token besides its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoenixRules {
    /// The longest age, which wins over that of the token, as `max_age` of `verify/4` does.
    /// `None` takes that of the token.
    pub max_age: Option<MaxAge>,
    /// The key of the user id in data that is a map, a string or an atom in Elixir. Data that is
    /// a string or an integer is the user id itself; other data has none.
    pub user_id_key: SmolStr,
}

impl Default for PhoenixRules {
    fn default() -> Self {
        Self { max_age: None, user_id_key: SmolStr::new_static("user_id") }
    }
}

/// A verifier of Phoenix tokens.
#[derive(Clone, Debug)]
pub struct PhoenixVerifier {
    keys: PhoenixKeys,
    rules: PhoenixRules,
}

impl PhoenixVerifier {
    /// A verifier with these keys and rules.
    #[must_use]
    pub const fn new(keys: PhoenixKeys, rules: PhoenixRules) -> Self {
        Self { keys, rules }
    }

    pub(crate) fn verify(&self, token: &str, now_unix_ms: u64) -> Result<Identity, Refusal> {
        let payload = self.authentic_payload(token)?;
        let message = Message::of_term(etf::decode(&payload)?)?;
        let age = self.rules.max_age.map_or(message.age, Age::from);
        let expires_at_unix_ms = age.check(message.signed_ms, now_unix_ms)?;
        let claims = etf::to_json(&message.data)?;
        let user_id = self.user_id(&claims)?;
        Ok(Identity { user_id, claims, expires_at_unix_ms })
    }

    /// The bytes of the term, after the MAC has been found right.
    fn authentic_payload(&self, token: &str) -> Result<Vec<u8>, Refusal> {
        let (message, mac) = token.rsplit_once('.').ok_or(Refusal::Malformed("no three parts"))?;
        let (header, payload) =
            message.split_once('.').ok_or(Refusal::Malformed("no three parts"))?;
        // A further part would leave a dot in the payload, which is no base64.
        let payload = decode_base64url(payload).ok_or(Refusal::Malformed("no base64url"))?;
        let mac = decode_base64url(mac).ok_or(Refusal::Malformed("no base64url"))?;
        if self.keys.verify(header, message.as_bytes(), &mac) {
            Ok(payload)
        } else {
            Err(Refusal::BadSignature)
        }
    }

    fn user_id(&self, data: &Value) -> Result<Option<SmolStr>, Refusal> {
        match data {
            Value::Object(members) => {
                members.get(self.rules.user_id_key.as_str()).map_or(Ok(None), user_id)
            }
            Value::String(_) => user_id(data),
            Value::Number(number) if !number.is_f64() => user_id(data),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => Ok(None),
        }
    }
}

/// The data of a token, and the times at which it was signed and ends, in milliseconds of Unix
/// time. Its MAC is not looked at.
///
/// # Errors
///
/// The token is malformed, or its data cannot be JSON.
pub(crate) fn read_unverified(token: &str) -> Result<(Value, i128, Option<i128>), Refusal> {
    let payload = token.split('.').nth(1).ok_or(Refusal::Malformed("no three parts"))?;
    let payload = decode_base64url(payload).ok_or(Refusal::Malformed("no base64url"))?;
    let message = Message::of_term(etf::decode(&payload)?)?;
    let end_ms = message.age.end_ms(message.signed_ms);
    Ok((etf::to_json(&message.data)?, message.signed_ms, end_ms))
}

/// The parts of the term that is signed.
struct Message<'a> {
    data: Term<'a>,
    signed_ms: i128,
    age: Age,
}

impl<'a> Message<'a> {
    fn of_term(term: Term<'a>) -> Result<Self, Refusal> {
        let default_age = MaxAge::Seconds(DEFAULT_MAX_AGE_S.into()).into();
        let (data, signed, age) = match term {
            Term::Tuple(items) => match <[Term<'_>; 3]>::try_from(items) {
                Ok([data, signed, age]) => (data, signed, Age::of_term(&age)?),
                Err(items) => match <[Term<'_>; 2]>::try_from(items) {
                    Ok([data, signed]) => (data, signed, default_age),
                    Err(_) => return Err(Refusal::Malformed("no tuple of data, time and age")),
                },
            },
            Term::Map(pairs) => {
                let (data, signed) = data_and_signed(pairs)?;
                (data, signed, default_age)
            }
            Term::Integer(_) | Term::Float(_) | Term::Binary(_) | Term::Atom(_) | Term::List(_) => {
                return Err(Refusal::Malformed("no tuple of data, time and age"));
            }
        };
        match signed {
            Term::Integer(signed_ms) => Ok(Self { data, signed_ms, age }),
            Term::Float(_)
            | Term::Binary(_)
            | Term::Atom(_)
            | Term::List(_)
            | Term::Tuple(_)
            | Term::Map(_) => Err(Refusal::Malformed("the time of signing")),
        }
    }
}

/// The values of the atoms `data` and `signed`, the form of Phoenix 1.3 and before.
fn data_and_signed<'a>(pairs: Vec<(Term<'a>, Term<'a>)>) -> Result<(Term<'a>, Term<'a>), Refusal> {
    let (mut data, mut signed) = (None, None);
    for (key, value) in pairs {
        let place = if key.is_atom("data") {
            &mut data
        } else if key.is_atom("signed") {
            &mut signed
        } else {
            continue;
        };
        if place.replace(value).is_some() {
            return Err(Refusal::Malformed("a key that is there twice"));
        }
    }
    data.zip(signed).ok_or(Refusal::Malformed("no map of data and time"))
}
