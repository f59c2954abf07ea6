//! Term → JSON.
//!
//! | term | JSON |
//! | --- | --- |
//! | integer | number, from -2⁶³ to 2⁶⁴ - 1; others are refused |
//! | float | number |
//! | binary | string; refused if it is no UTF-8 |
//! | `nil`, `true`, `false` | `null`, `true`, `false` |
//! | other atoms | string |
//! | list, charlist | array; of numbers for a charlist |
//! | tuple | array |
//! | map | object; keys are binaries, atoms or integers, and no two have the same text |

use serde_json::{Map, Number, Value};

use super::Term;
use crate::Refusal;

/// The JSON value that a term is.
///
/// # Errors
///
/// JSON has no such value; see the table above.
pub(crate) fn to_json(term: &Term<'_>) -> Result<Value, Refusal> {
    match term {
        Term::Integer(integer) => number(*integer),
        Term::Float(float) => {
            let number = Number::from_f64(*float).map(Value::Number);
            number.ok_or(Refusal::UnsupportedData("a float that is not finite"))
        }
        Term::Binary(bytes) => text(bytes).map(Value::String),
        Term::Atom(name) => Ok(match name.as_str() {
            "nil" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => Value::String(other.to_owned()),
        }),
        Term::List(items) | Term::Tuple(items) => {
            items.iter().map(to_json).collect::<Result<_, _>>().map(Value::Array)
        }
        Term::Map(pairs) => object(pairs),
    }
}

fn number(integer: i128) -> Result<Value, Refusal> {
    let number = Number::from_i128(integer).filter(|number| !number.is_f64());
    number.map(Value::Number).ok_or(Refusal::UnsupportedData("an integer of more than 64 bits"))
}

fn text(bytes: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(bytes);
    text.map(str::to_owned).map_err(|_| Refusal::UnsupportedData("a binary that is no UTF-8"))
}

fn object(pairs: &[(Term<'_>, Term<'_>)]) -> Result<Value, Refusal> {
    let mut members = Map::new();
    for (key, value) in pairs {
        let name = match key {
            Term::Binary(bytes) => text(bytes)?,
            Term::Atom(name) => name.clone(),
            Term::Integer(integer) => integer.to_string(),
            Term::Float(_) | Term::List(_) | Term::Tuple(_) | Term::Map(_) => {
                return Err(Refusal::UnsupportedData("a key that is no text"));
            }
        };
        if members.insert(name, to_json(value)?).is_some() {
            return Err(Refusal::UnsupportedData("two keys with the same text"));
        }
    }
    Ok(Value::Object(members))
}
