//! JSON pointers (RFC 6901), followed in a text without building its values.

use std::borrow::Cow;

use super::scan::Scanner;

/// A JSON pointer: where something is in a JSON text, for example `/user/id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

/// A text that is no JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no JSON pointer; one such as \"/user\" or \"/user/id\" is expected")]
pub struct PointerError(String);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    ///
    /// The text does not begin with `/`. That refuses the empty pointer, too, which would lead to
    /// the whole text.
    pub fn parse(text: &str) -> Result<Self, PointerError> {
        let Some(steps) = text.strip_prefix('/') else {
            return Err(PointerError(text.to_owned()));
        };
        let step = |step: &str| step.replace("~1", "/").replace("~0", "~");
        Ok(Self(steps.split('/').map(step).collect()))
    }

    /// The JSON text of the value that the pointer leads to. `None` if there is none, or if `json`
    /// is no JSON. Of several members with the same name, the last counts.
    pub fn find<'a>(&self, json: &'a str) -> Option<&'a str> {
        let mut whole = Scanner::new(json);
        let mut found = whole.value().ok()?;
        if whole.peek().is_some() {
            return None;
        }
        for step in &self.0 {
            found = below(found, step)?;
        }
        Some(found)
    }

    /// The string, number or boolean that the pointer leads to: a string's text, and a number as it
    /// is written, so that two numbers that are written differently stay different.
    pub fn text<'a>(&self, json: &'a str) -> Option<Cow<'a, str>> {
        let found = self.find(json)?;
        match found.as_bytes().first()? {
            b'"' => Some(unquoted(found)),
            b'{' | b'[' | b'n' => None,
            _ => Some(Cow::Borrowed(found)),
        }
    }
}

/// The value one step into a valid JSON text.
fn below<'a>(json: &'a str, step: &str) -> Option<&'a str> {
    let mut scanner = Scanner::new(json);
    if scanner.eat(b'{') {
        return member(scanner, step);
    }
    // RFC 6901: an index has no sign, and no leading zero.
    let is_index = step == "0" || (!step.starts_with('0') && step.bytes().all(is_digit));
    let index: usize = step.parse().ok().filter(|_| is_index)?;
    scanner.eat(b'[').then(|| element(scanner, index)).flatten()
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn member<'a>(mut object: Scanner<'a>, name: &str) -> Option<&'a str> {
    let mut found = None;
    while object.peek() == Some(b'"') {
        let key = object.value().ok()?;
        object.eat(b':');
        let value = object.value().ok()?;
        if unquoted(key) == name {
            found = Some(value);
        }
        object.eat(b',');
    }
    found
}

fn element(mut array: Scanner<'_>, index: usize) -> Option<&str> {
    for _ in 0..index {
        array.value().ok()?;
        array.eat(b',');
    }
    array.value().ok()
}

/// The text of a string in quotes. A string with half of a surrogate pair has no text: what is
/// written between the quotes is taken instead, so that it still differs from other strings.
fn unquoted(quoted: &str) -> Cow<'_, str> {
    let written = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let written = written.unwrap_or(quoted);
    if !written.contains('\\') {
        return Cow::Borrowed(written);
    }
    serde_json::from_str(quoted).map_or(Cow::Borrowed(written), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn find<'a>(pointer: &str, json: &'a str) -> Option<&'a str> {
        Pointer::parse(pointer).unwrap().find(json)
    }

    fn text(pointer: &str, json: &str) -> Option<String> {
        Pointer::parse(pointer).unwrap().text(json).map(Cow::into_owned)
    }

    #[test]
    fn a_pointer_leads_to_a_part_of_a_text() {
        for (pointer, json, expected) in [
            ("/a", r#" {"b":{"a":1}, "a" : [1, 2] } "#, Some("[1, 2]")),
            ("/a/1", r#"{"a":[1,{"b":2}]}"#, Some(r#"{"b":2}"#)),
            ("/a/1/b", r#"{"a":[1,{"b":2}]}"#, Some("2")),
            ("/a/2", r#"{"a":[1,2]}"#, None),
            ("/a/01", r#"{"a":[1,2]}"#, None),
            ("/a/+1", r#"{"a":[1,2]}"#, None),
            ("/a/-", r#"{"a":[1,2]}"#, None),
            ("/0", "[]", None),
            ("/0", r#"{"0":1}"#, Some("1")),
            ("/a~1b/m~0n", r#"{"a/b":{"m~n":3}}"#, Some("3")),
            ("/", r#"{"":4}"#, Some("4")),
            ("/é", r#"{"\u00e9":5}"#, Some("5")),
            ("/a", r#"{"a":1,"a":2}"#, Some("2")),
            ("/a", r#"{"\ud83d":0,"a":1}"#, Some("1")),
            ("/a", "{}", None),
            ("/a", "3", None),
            ("/a", r#"{"a":1} x"#, None),
            ("/a", r#"{"a":1,"b":}"#, None),
        ] {
            assert_eq!(find(pointer, json), expected, "{pointer} in {json}");
        }
        assert!(Pointer::parse("user").is_err() && Pointer::parse("").is_err());
    }

    #[test]
    fn what_differs_in_a_text_stays_different() {
        let of = |value: &str| text("/k", &format!(r#"{{"k":{value},"x":"\ud83d"}}"#));
        assert_eq!(of("18446744073709551616").as_deref(), Some("18446744073709551616"));
        assert_eq!(of("18446744073709551617").as_deref(), Some("18446744073709551617"));
        assert_eq!(of("1e999").as_deref(), Some("1e999"));
        assert_eq!(of("0.10").as_deref(), Some("0.10"));
        assert_eq!(of("true").as_deref(), Some("true"));
        assert_eq!(of(r#""\u0061b""#).as_deref(), Some("ab"));
        assert_eq!(of(r#""\ud83d""#).as_deref(), Some(r"\ud83d"));
        assert_ne!(of(r#""\ud83d""#), of(r#""\ud83e""#));
        for none in ["null", "[1]", r#"{"a":1}"#] {
            assert_eq!(of(none), None, "{none}");
        }
        let deep = format!(r#"{{"x":{}1{},"k":7}}"#, "[".repeat(5000), "]".repeat(5000));
        assert_eq!(text("/k", &deep).as_deref(), Some("7"));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\\\\\"é]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[ab~/0-1]{0,2}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_serde_json_finds(value in values(), pointer in "(/[ab~01]{0,2}){1,4}") {
            let text = value.to_string();
            let found = find(&pointer, &text);
            let found = found.map(|found| serde_json::from_str::<Value>(found).unwrap());
            prop_assert_eq!(found.as_ref(), value.pointer(&pointer), "{} in {}", pointer, text);
        }
    }
}
