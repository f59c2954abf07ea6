//! Who a client is: what a verified token says.

use serde_json::Value;
use smol_str::{SmolStr, ToSmolStr};

use crate::Refusal;

/// The length of a user id at most, in bytes, as plugins may give one.
pub const MAX_USER_ID_BYTES: usize = 255;

/// What a verified token says of its client.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The user, as text; `None` if the token names none.
    pub user_id: Option<SmolStr>,
    /// The claims of a JWT, an object; or the data of a Phoenix token, any JSON value.
    pub claims: Value,
    /// The first millisecond, in Unix time, at which the same token would be refused as expired:
    /// leeway is added. A connection that is closed then comes back with a new token. `None`
    /// if the token does not expire.
    pub expires_at_unix_ms: Option<u64>,
}

/// The user id that a claim is: text, or an integer as text. `null` is none.
///
/// # Errors
///
/// Any other value; text that is empty or longer than [`MAX_USER_ID_BYTES`].
pub(crate) fn user_id(claim: &Value) -> Result<Option<SmolStr>, Refusal> {
    match claim {
        Value::Null => Ok(None),
        Value::String(text) if (1..=MAX_USER_ID_BYTES).contains(&text.len()) => {
            Ok(Some(SmolStr::from(text.as_str())))
        }
        Value::Number(number) if !number.is_f64() => Ok(Some(number.to_smolstr())),
        Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => Err(Refusal::BadUserId),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_and_integers_are_user_ids() {
        assert_eq!(user_id(&json!("ada")), Ok(Some("ada".into())));
        assert_eq!(user_id(&json!(42)), Ok(Some("42".into())));
        assert_eq!(user_id(&json!(-1)), Ok(Some("-1".into())));
        assert_eq!(user_id(&json!(u64::MAX)), Ok(Some("18446744073709551615".into())));
        assert_eq!(user_id(&json!(null)), Ok(None));
    }

    #[test]
    fn other_values_are_refused() {
        let long = "x".repeat(MAX_USER_ID_BYTES + 1);
        for value in [json!(1.0), json!(true), json!([]), json!({}), json!(""), json!(long)] {
            assert_eq!(user_id(&value), Err(Refusal::BadUserId), "{value}");
        }
    }
}
