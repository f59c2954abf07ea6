//! Writing JSON strings and checking JSON texts, without building values.

use std::fmt::Write;

use super::scan::{Scanner, plain_prefix};

/// Whether `text` is exactly one JSON text (RFC 8259).
#[must_use]
pub fn is_json(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_ok() && scanner.peek().is_none()
}

/// Appends `text` as a JSON string, quotes included.
pub(super) fn push_string(out: &mut String, text: &str) {
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
        for bad in ["", "{", "{}{}", "nul", "'a'", "[1,]"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
