//! Finding the elements of a version 2 frame without parsing it.

/// The first four elements of `[join_ref, ref, topic, event, payload]` as JSON texts, and the
/// payload without the closing bracket. `None` for anything else, and for strings with escapes.
#[must_use]
pub fn elements(frame: &str) -> Option<[&str; 5]> {
    let mut rest = frame.strip_prefix('[')?;
    let mut elements = [""; 5];
    for element in elements.iter_mut().take(4) {
        let end = match rest.strip_prefix('"') {
            Some(string) => string.find('"')? + 2,
            None => rest.find(',')?,
        };
        let (found, after) = rest.split_at_checked(end)?;
        *element = found;
        rest = after.strip_prefix(',')?;
    }
    elements[4] = rest.strip_suffix(']')?;
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_apart() {
        assert_eq!(
            elements(r#"["1",null,"room:a","ping",{"a":[1,"]"]}]"#),
            Some([r#""1""#, "null", r#""room:a""#, r#""ping""#, r#"{"a":[1,"]"]}"#])
        );
        assert_eq!(elements("{}"), None);
        assert_eq!(elements(r#"["1""#), None);
    }
}
