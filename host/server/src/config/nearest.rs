//! Suggestions for a name that does not exist.

/// The number of letters for each of which one difference counts as a typing error.
const LETTERS_PER_TYPO: usize = 3;

/// The one of `names` that was most likely meant by `found`; `None` if none is close enough.
pub(super) fn nearest<'a>(
    found: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let found = found.to_ascii_lowercase().replace('-', "_");
    let most = (found.len() / LETTERS_PER_TYPO).max(1);
    let names: Vec<_> = names.into_iter().collect();
    let with_distance = names.iter().map(|name| (strsim::osa_distance(&found, name), *name));
    let typo = with_distance.filter(|(distance, _)| *distance <= most).min();
    // Or the unit at its end was left out.
    let begins = format!("{found}_");
    let mut longer = names.iter().copied().filter(|name| name.starts_with(&begins));
    typo.map(|(_, name)| name).or_else(|| match (longer.next(), longer.next()) {
        (Some(name), None) => Some(name),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_from_another_word() {
        let names = ["max_connections", "max_connects_per_second", "path", "retry_after_ms", "tls"];
        for (found, meant) in [
            ("max_conections", Some("max_connections")),
            ("max-connections", Some("max_connections")),
            ("Path", Some("path")),
            ("tsl", Some("tls")),
            ("retry_after", Some("retry_after_ms")),
            ("max", None),
            ("none_such", None),
            ("", None),
        ] {
            assert_eq!(nearest(found, names), meant, "{found}");
        }
    }
}
