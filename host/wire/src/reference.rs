//! Refs and join refs: whatever JSON scalar the client chose, echoed unchanged.

use smol_str::SmolStr;

use super::{DecodeError, json};

/// A ref or join ref as JSON text, for example `"3"` (with the quotes), `3` or
/// `true`. A JSON null is no `Ref` at all: the protocol's `null` is `None`.
///
/// Two refs are equal when their JSON texts are, as the client wrote them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ref(SmolStr);

/// The limit of a ref in bytes. A longer one makes its frame malformed: a join ref is kept as long
/// as its channel lives, and the binary format has room for no more.
const MAX_REF_BYTES: usize = 255;

impl Ref {
    /// Takes a ref from its JSON text; `Ok(None)` for `null`.
    ///
    /// # Errors
    ///
    /// The text is an object or an array, or has more than 255 bytes.
    pub fn from_json(raw: &str) -> Result<Option<Self>, DecodeError> {
        match raw.as_bytes().first() {
            Some(b'n') => Ok(None),
            Some(b'{' | b'[') | None => {
                Err(DecodeError("a ref must be a JSON string, number, boolean or null".to_owned()))
            }
            Some(_) if raw.len() > MAX_REF_BYTES => Err(DecodeError(format!(
                "a ref may have at most {MAX_REF_BYTES} bytes, found {}",
                raw.len()
            ))),
            Some(_) => Ok(Some(Self(SmolStr::new(raw)))),
        }
    }

    /// Takes a ref from the header of a binary frame; an empty part means that there is none.
    pub(super) fn from_header(text: &str) -> Option<Self> {
        if text.is_empty() {
            return None;
        }
        let mut quoted = String::with_capacity(text.len() + 2);
        json::push_string(&mut quoted, text);
        Some(Self(SmolStr::new(quoted)))
    }

    /// The ref's JSON text.
    #[must_use]
    #[inline]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The ref as the header of a binary frame has it: a string without its quotes, and anything
    /// else as its JSON text.
    pub(super) fn to_header(&self) -> SmolStr {
        let string = self.0.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        match string {
            Some(plain) if !plain.contains('\\') => SmolStr::new(plain),
            Some(_) => serde_json::from_str::<String>(&self.0)
                .map_or_else(|_| self.0.clone(), SmolStr::from),
            None => self.0.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_kept_as_they_are_written() {
        for raw in [r#""1""#, "1", "-0.5e3", "true", r#""\u0041""#, r#""é""#] {
            assert_eq!(Ref::from_json(raw).unwrap().unwrap().as_json(), raw);
        }
        assert_eq!(Ref::from_json("null"), Ok(None));
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(Ref::from_json("{}").is_err());
        assert!(Ref::from_json("[1]").is_err());
        assert!(Ref::from_json(&format!("\"{}\"", "x".repeat(300))).is_err());
    }

    #[test]
    fn headers_carry_strings_without_quotes() {
        for (raw, header) in [(r#""12""#, "12"), ("12", "12"), (r#""a\"b""#, "a\"b")] {
            assert_eq!(Ref::from_json(raw).unwrap().unwrap().to_header(), header);
        }
        assert_eq!(Ref::from_header("12").unwrap().as_json(), r#""12""#);
        assert_eq!(Ref::from_header(""), None);
    }
}
