//! A meta: the JSON object that an owner tracks under a key.

use std::sync::Arc;

use millrace_wire::json_problem;

use crate::PresenceError;

/// The members that the server sets in each meta.
const RESERVED: [&str; 2] = ["phx_ref", "phx_ref_prev"];

/// The characters that JSON takes for space.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A meta that was checked: a JSON object, kept as the text of its members without the braces, so
/// that a payload is made by copying.
///
/// Members named `phx_ref` and `phx_ref_prev` are left out: the server's own stand in their place,
/// as Phoenix overrides them. So a plugin may update a meta by what it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta(Arc<str>);

impl Meta {
    /// The meta of a JSON text with at most `max_bytes` bytes.
    ///
    /// # Errors
    ///
    /// The text is longer, or no JSON object.
    pub fn parse(text: &str, max_bytes: usize) -> Result<Self, PresenceError> {
        if text.len() > max_bytes {
            return Err(PresenceError::MetaTooLarge { found: text.len(), allowed: max_bytes });
        }
        if let Some(problem) = json_problem(text) {
            return Err(PresenceError::MetaNotObject { problem });
        }
        let object = text.trim_matches(SPACE);
        let members = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let Some(members) = members else {
            let problem = format!("found {}", type_name(object));
            return Err(PresenceError::MetaNotObject { problem });
        };
        let members = members.trim_matches(SPACE);
        // A name with an escape may be one of the reserved in other letters.
        if members.contains(RESERVED[0]) || members.contains('\\') {
            return Ok(Self(without_reserved(members).into()));
        }
        Ok(Self(members.into()))
    }

    /// The members as they stand between the braces; empty for an empty object.
    pub(crate) fn members(&self) -> &str {
        &self.0
    }

    /// The meta as a JSON object, without the server's members.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{{{}}}", self.0)
    }
}

/// The type of a valid JSON text.
fn type_name(json: &str) -> &'static str {
    match json.as_bytes().first() {
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// The members of a valid object but those that are reserved.
fn without_reserved(members: &str) -> String {
    let mut kept = String::with_capacity(members.len());
    for member in split(members).filter(|member| !is_reserved(member)) {
        if !kept.is_empty() {
            kept.push(',');
        }
        kept.push_str(member);
    }
    kept
}

/// Whether the name of a member, `"name":value`, is reserved.
fn is_reserved(member: &str) -> bool {
    let name = serde_json::Deserializer::from_str(member).into_iter::<String>().next();
    matches!(name, Some(Ok(name)) if RESERVED.contains(&name.as_str()))
}

/// Each member of a valid object, of the text between its braces.
fn split(members: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(members).filter(|members| !members.is_empty());
    std::iter::from_fn(move || {
        let text = rest?;
        let (member, behind) = match first_comma(text).and_then(|at| text.split_at_checked(at)) {
            Some((member, behind)) => (member, behind.strip_prefix(',')),
            None => (text, None),
        };
        rest = behind;
        Some(member.trim_matches(SPACE))
    })
}

/// The place of the first comma that is in no string, array or object.
fn first_comma(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> String {
        Meta::parse(text, 1024).unwrap().members().to_owned()
    }

    #[test]
    fn an_object_keeps_its_text() {
        assert_eq!(members("{}"), "");
        assert_eq!(members(" {\n} \n"), "");
        assert_eq!(
            members(r#"{ "a" : [1, {"b":2}] , "c":"}" }"#),
            r#""a" : [1, {"b":2}] , "c":"}""#
        );
        assert_eq!(members(r#"{"a":"\"","ü":"\\"}"#), r#""a":"\"","ü":"\\""#);
        assert_eq!(Meta::parse(r#" {"a":1}"#, 9).unwrap().to_json(), r#"{"a":1}"#);
    }

    #[test]
    fn the_servers_own_members_are_left_out_however_they_are_written() {
        assert_eq!(members(r#"{"phx_ref":"x"}"#), "");
        assert_eq!(members(r#"{"a":1, "phx_ref" : {"b":[",",1]},"c":2}"#), r#""a":1,"c":2"#);
        assert_eq!(members(r#"{"phx_ref_prev":null,"a":"phx_ref"}"#), r#""a":"phx_ref""#);
        assert_eq!(members(r#"{"phx\u005fref":1,"a\\\"":1}"#), r#""a\\\"":1"#);
        let inner = r#""a":{"phx_ref":1},"phx_refs":[{"phx_ref":2}]"#;
        assert_eq!(members(&format!("{{{inner}}}")), inner);
    }

    #[test]
    fn what_is_no_object_is_refused_with_what_was_found() {
        for (text, found) in [
            ("[]", "found an array"),
            ("\"a\"", "found a string"),
            ("null", "found null"),
            ("true", "found a boolean"),
            (" -1", "found a number"),
            ("", "expected a JSON value"),
            ("{\"a\"}", "expected"),
            ("{}{}", "expected the end"),
            (r#"{"a":"\ud83d"}"#, "half of a surrogate pair"),
        ] {
            let error = Meta::parse(text, 1024).unwrap_err();
            assert!(matches!(error, PresenceError::MetaNotObject { .. }), "{text}");
            assert!(error.to_string().contains(found), "{text}: {error}");
        }
    }

    #[test]
    fn a_meta_is_as_large_as_is_allowed() {
        assert!(Meta::parse(r#"{"a":1}"#, 7).is_ok());
        let error = PresenceError::MetaTooLarge { found: 7, allowed: 6 };
        assert_eq!(Meta::parse(r#"{"a":1}"#, 6), Err(error));
    }
}
