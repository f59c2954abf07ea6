//! Writing JSON strings and checking JSON texts, without building values.

use std::fmt::Write;

use super::DecodeError;
use super::scan::{Scanner, plain_prefix};

/// Whether `text` is exactly one JSON text (RFC 8259) that every parser can read: [`json_problem`]
/// finds nothing wrong with it.
#[must_use]
pub fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_ok() && scanner.peek().is_none() && scanner.take_flaw().is_none()
}

/// What is wrong with a text that [`is_json`] refuses, and what would be right; `None` for a text
/// that it accepts.
#[must_use]
pub fn json_problem(text: &str) -> Option<String> {
    let mut scanner = Scanner::new(text);
    if let Err(DecodeError(problem)) = scanner.value() {
        return Some(problem);
    }
    match (scanner.peek(), scanner.take_flaw()) {
        (Some(_), _) => Some(scanner.expected("the end").0),
        (None, flaw) => flaw.map(|flaw| flaw.describe(text)),
    }
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    if plain_prefix(text) == text.len() {
        out.push_str(text);
    } else {
        for character in text.chars() {
            push_escaped(out, character);
        }
    }
    out.push('"');
}

fn push_escaped(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control if (control as u32) < 0x20 => {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{:04x}", control as u32);
        }
        other => out.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_survive(text in ".*") {
            let mut out = String::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut out = String::new();
        push_string(&mut out, "a\u{1}\n\"\\");
        assert_eq!(out, r#""a\u0001\n\"\\""#);
    }

    #[test]
    fn only_one_whole_text_is_json() {
        assert!(is_json(r#"{"a":[1,null]}"#));
        assert!(is_json("3"));
        assert_eq!(json_problem("3"), None);
        for (bad, problem) in [
            ("", "expected a JSON value"),
            ("{", "expected a key"),
            ("{}{}", "expected the end at byte 2"),
            ("nul", "expected a JSON value"),
            ("'a'", "expected a JSON value"),
            ("[1,]", "expected a JSON value"),
            (r#""\ud83d""#, r"\ud83d at byte 1 is half of a surrogate pair"),
            ("1e999", "the number at byte 0 is beyond 1.7976931348623157e308"),
        ] {
            assert!(!is_json(bad), "{bad}");
            let found = json_problem(bad).unwrap();
            assert!(found.contains(problem), "{bad}: {found}");
        }
    }
}
