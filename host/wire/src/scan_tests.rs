//! Tests of the JSON scanner, with `serde_json` as the oracle.

use super::*;
use proptest::prelude::*;

fn accepts(text: &str) -> bool {
    let mut scanner = Scanner::new(text);
    scanner.value().is_ok() && scanner.peek().is_none()
}

fn serde_accepts(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Texts made of pieces of JSON; most of them are wrong somewhere.
fn pieces() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\":",
        "\"b\"",
        "\\",
        "\\n",
        "\\u00e9",
        "\\ud800",
        "\\udc00",
        "\\u00g0",
        "0",
        "-",
        "12",
        "1.5",
        "e+3",
        "e309",
        "E",
        ".",
        "true",
        "fals",
        "null",
        " ",
        "\n",
        "\u{1}",
        "é",
        "12345678",
        "a\"bcdefghij\\\"klmnop",
    ];
    proptest::collection::vec(proptest::sample::select(PIECES), 0..12)
        .prop_map(|pieces| pieces.concat())
}

/// Nested values that are valid.
fn values() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| n.to_string()),
        any::<i64>().prop_map(|n| format!(" {n}\t")),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(6, 64, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5)
                .prop_map(|values| format!("[{}]", values.join(","))),
            proptest::collection::vec(("[a-z]{0,9}", inner), 0..5).prop_map(|pairs| {
                let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("\"{k}\" : {v}")).collect();
                format!("{{{}}}", pairs.join(" ,"))
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_accepts_what_serde_json_accepts(text in pieces()) {
        prop_assert_eq!(accepts(&text), serde_accepts(&text), "{}", text);
    }

    #[test]
    fn it_accepts_values_and_no_part_of_them(text in values(), cut in any::<prop::sample::Index>()) {
        prop_assert!(accepts(&text), "{}", text);
        let cut = cut.index(text.len() + 1);
        if let Some(part) = text.get(..cut) {
            prop_assert_eq!(accepts(part), serde_accepts(part), "{}", part);
        }
    }

    #[test]
    fn strings_are_read_as_serde_json_does(text in any::<String>()) {
        let quoted = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(Scanner::new(&quoted).string().unwrap(), text);
    }
}

#[test]
fn containers_nest_deeply() {
    for depth in [63, 64, 65, 128, 129, 1000] {
        let text = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth);
        assert!(accepts(&text), "{depth}");
        let wrong = "[{\"a\":".repeat(depth) + "1" + &"}]".repeat(depth - 1) + "]}";
        assert!(!accepts(&wrong), "{depth}");
    }
}

#[test]
fn half_a_surrogate_pair_is_no_string() {
    assert!(Scanner::new(r#""\ud800""#).string().is_err());
}

/// The place of the first flaw in a value.
fn flaw(text: &str) -> Option<usize> {
    let mut scanner = Scanner::new(text);
    scanner.value().unwrap();
    scanner.take_flaw().map(|flaw| flaw.at)
}

#[test]
fn what_many_parsers_refuse_is_noted() {
    let long = format!("[{}]", "9".repeat(400));
    for (text, at) in [
        (r#"{"a":"\ud83d"}"#, Some(6)),
        (r#""\uDE00\uD83D""#, Some(1)),
        (r#""\ud83d\ud83d\ude00""#, Some(1)),
        (r#""\ud83dx\ude00""#, Some(1)),
        (r#""\ud83d\n""#, Some(1)),
        (r#"{"\udfff":1}"#, Some(2)),
        (r#"["\ud83d\ude00 \u00e9 \ud7ff \ue000"]"#, None),
        ("[1e308,-1.7e+308,1e-400,0e999]", None),
        ("[1e309]", Some(1)),
        ("[0,-1E+400]", Some(3)),
        (&long, Some(1)),
        (&"9".repeat(308), None),
        ("18446744073709551617", None),
    ] {
        assert_eq!(flaw(text), at, "{text}");
    }
}

proptest! {
    /// `serde_json` refuses flaws when it builds values.
    #[test]
    fn what_has_no_flaw_can_be_read(text in pieces()) {
        if accepts(&text) {
            let read = serde_json::from_str::<serde_json::Value>(&text);
            prop_assert_eq!(flaw(&text).is_none(), read.is_ok(), "{}", text);
        }
    }
}

#[test]
fn errors_say_what_was_found_and_where() {
    for (text, expected) in [
        ("", "expected a JSON value at byte 0, found the end"),
        ("[1 2]", "expected ',' or ']' at byte 3, found '2'"),
        ("{é", "expected a key in quotes at byte 1, found 'é'"),
        ("\"a\nb\"", "expected '\"' at the end of a string at byte 2, found '\\n'"),
    ] {
        let error = Scanner::new(text).value().unwrap_err();
        assert_eq!(error.0, expected, "{text}");
    }
}
