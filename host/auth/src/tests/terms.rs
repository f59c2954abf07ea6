//! Terms: what they are in JSON, and their bounds.

use serde_json::{Value, json};

use crate::Refusal;
use crate::etf::{Term, decode, to_json};

fn json_of(bytes: &[u8]) -> Result<Value, Refusal> {
    decode(&[&[131], bytes].concat()).and_then(|term| to_json(&term))
}

#[test]
fn terms_are_json() {
    let terms: [(&[u8], Value); 23] = [
        (b"a\xff", json!(255)),
        (b"b\xff\xff\xff\xff", json!(-1)),
        (b"b\x7f\xff\xff\xff", json!(i32::MAX)),
        (b"n\x00\x00", json!(0)),
        (b"n\x08\x00\xff\xff\xff\xff\xff\xff\xff\xff", json!(u64::MAX)),
        (b"n\x08\x01\x00\x00\x00\x00\x00\x00\x00\x80", json!(i64::MIN)),
        (b"F\x3f\xf8\0\0\0\0\0\0", json!(1.5)),
        (b"m\0\0\0\0", json!("")),
        (b"m\0\0\0\x02\xc3\xa9", json!("é")),
        (b"d\0\x02ok", json!("ok")),
        (b"d\0\x01\xe9", json!("é")),
        (b"s\x01\xe9", json!("é")),
        (b"v\0\x02\xc3\xa9", json!("é")),
        (b"w\x03nil", json!(null)),
        (b"w\x04true", json!(true)),
        (b"d\0\x05false", json!(false)),
        (b"j", json!([])),
        (b"k\0\x02ab", json!([97, 98])),
        (b"l\0\0\0\x01a\x01j", json!([1])),
        (b"h\x02a\x01j", json!([1, []])),
        (b"i\0\0\0\x01a\x01", json!([1])),
        (b"t\0\0\0\0", json!({})),
        (b"t\0\0\0\x03w\x01aa\x01m\0\0\0\x01ba\x02a\x07j", json!({"a": 1, "b": 2, "7": []})),
    ];
    for (bytes, value) in terms {
        assert_eq!(json_of(bytes), Ok(value), "{bytes:?}");
    }
}

#[test]
fn what_json_has_not_is_refused() {
    let terms: [&[u8]; 15] = [
        b"n\x09\x00\0\0\0\0\0\0\0\0\x01",
        b"n\x08\x01\x01\x00\x00\x00\x00\x00\x00\x80",
        b"m\0\0\0\x01\xff",
        b"l\0\0\0\x01a\x01a\x02",
        b"t\0\0\0\x01ja\x01",
        b"t\0\0\0\x02w\x01aa\x01m\0\0\0\x01aa\x02",
        // A large bignum, a bit string, a process, a reference, a function, an old float.
        b"o\0\0\0\x01\0\x01",
        b"M\0\0\0\x01\x04\xf0",
        b"Xw\x01n\0\0\0\0\0\0\0\0\0\0\0\0",
        b"Z\0\x01w\x01n\0\0\0\0\0\0\0\0",
        b"p\0\0\0\x04",
        b"c1.0",
        // A compressed term.
        b"P\0\0\0\x02\x78\x9c\x4b\x04\x00\x00\x62\x00\x62",
        b"\x83a\x01",
        b"\0",
    ];
    for bytes in terms {
        assert_eq!(json_of(bytes).unwrap_err().reason(), "unsupported_data", "{bytes:?}");
    }
}

#[test]
fn bytes_that_are_no_term_are_refused() {
    let bytes: [&[u8]; 13] = [
        b"",
        b"a",
        b"a\x01\x01",
        b"b\0\0\0",
        b"n\x01\x02\x01",
        b"n\xff\0\x01",
        b"F\x7f\xf0\0\0\0\0\0\0",
        b"m\xff\xff\xff\xff",
        b"l\xff\xff\xff\xff",
        b"i\xff\xff\xff\xff",
        b"t\xff\xff\xff\xff",
        b"l\0\0\0\x01a\x01",
        b"w\x01\xff",
    ];
    for bytes in bytes {
        assert_eq!(json_of(bytes).unwrap_err().reason(), "malformed", "{bytes:?}");
    }
    assert_eq!(decode(b"").unwrap_err().reason(), "malformed");
    assert_eq!(decode(b"\x82a\x01").unwrap_err().reason(), "malformed");
}

#[test]
fn depth_is_bounded() {
    let nested = |levels: usize| [b"h\x01".repeat(levels).as_slice(), b"a\x01"].concat();
    assert!(json_of(&nested(32)).is_ok());
    for levels in [33, 3_000] {
        let refusal = json_of(&nested(levels)).unwrap_err();
        assert_eq!(refusal, Refusal::Malformed("a term that is nested too deep"));
    }
}

#[test]
fn the_number_of_terms_is_bounded() {
    let too_many = Refusal::Malformed("a term of too many parts");
    let list = |length: u16| {
        [b"l\0\0", &length.to_be_bytes()[..], &b"j".repeat(length.into()), b"j"].concat()
    };
    assert!(json_of(&list(4_095)).is_ok());
    assert_eq!(json_of(&list(4_096)), Err(too_many.clone()));
    let charlist =
        |length: u16| [b"k", &length.to_be_bytes()[..], &vec![1; length.into()]].concat();
    assert!(json_of(&charlist(4_095)).is_ok());
    assert_eq!(json_of(&charlist(4_096)), Err(too_many));
}

#[test]
fn atoms_and_binaries_are_different_terms() {
    assert!(decode(b"\x83w\x04data").unwrap().is_atom("data"));
    assert_eq!(decode(b"\x83m\0\0\0\x04data"), Ok(Term::Binary(b"data")));
}
