//! What a rule found, and the tables of what is still allowed.

use std::collections::BTreeMap;
use std::fmt;

/// The file of the rules, as findings name it.
const RULES: &str = "tests/tidy/rules.rs";

/// One place where a rule is broken.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// File and line.
    place: String,
    found: String,
    allowed: String,
    why: &'static str,
}

impl Finding {
    pub(super) fn new(
        path: &str,
        line: usize,
        found: impl Into<String>,
        allowed: impl Into<String>,
        why: &'static str,
    ) -> Self {
        let place = format!("{path}:{line}");
        Self { place, found: found.into(), allowed: allowed.into(), why }
    }

    /// An entry of a table that is there for nothing, or says too much.
    fn of_table(table: &str, key: &str, found: String, allowed: String) -> Self {
        let why = "tables of exceptions only get shorter, so that none hides what comes later";
        Self::new(RULES, line_of(table, key), found, allowed, why)
    }

    /// An exception that nothing needs any more.
    pub(super) fn needless(table: &str, key: &str) -> Self {
        Self::of_table(
            table,
            key,
            format!("the exception {key} of {table} is not needed"),
            "only what is; remove it".to_owned(),
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, found, allowed, why } = self;
        write!(f, "{place}: {found}\n    allowed: {allowed}\n    why: {why}")
    }
}

/// The line of the rules that has an entry of a table, or the table's first.
fn line_of(table: &str, key: &str) -> usize {
    let text = include_str!("rules.rs");
    let name = format!("const {table}:");
    let start = text.lines().position(|line| line.contains(&name)).unwrap_or_default();
    let words: Vec<String> = key.split(" -> ").map(|word| format!("\"{word}\"")).collect();
    let has_all = |line: &str| words.iter().all(|word| line.contains(word));
    1 + start + text.lines().skip(start).position(has_all).unwrap_or_default()
}

/// Fails with all findings, if there are any.
#[track_caller]
pub(super) fn none(findings: &[Finding]) {
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{} findings\n{}", texts.len(), texts.join("\n"));
}

/// Fails unless there is one finding for each of these beginnings, in this order.
#[track_caller]
pub(super) fn are(findings: &[Finding], expected: &[&str]) {
    let texts: Vec<String> = findings.iter().map(ToString::to_string).collect();
    let is_each = texts.iter().zip(expected).all(|(text, start)| text.starts_with(start));
    assert!(is_each && texts.len() == expected.len(), "{}", texts.join("\n"));
}

/// What is found beyond a table of allowances (key, how many are left), and the allowances
/// that are higher than what is found.
pub(super) fn beyond(
    found: Vec<(String, Finding)>,
    table: &str,
    left: &[(&str, usize)],
) -> Vec<Finding> {
    let mut by_key: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    for (key, finding) in found {
        by_key.entry(key).or_default().push(finding);
    }
    let mut findings = Vec::new();
    for (key, found) in &by_key {
        let allowed = left.iter().find(|(name, _)| name == key).map_or(0, |(_, count)| *count);
        if found.len() > allowed {
            findings.extend_from_slice(found);
            if allowed > 0 {
                findings.push(Finding::of_table(
                    table,
                    key,
                    format!("{} findings for {key}, which are above", found.len()),
                    format!("{allowed} of those that were there already"),
                ));
            }
        }
    }
    for (key, allowed) in left {
        let count = by_key.get(*key).map_or(0, Vec::len);
        if count < *allowed {
            let write = match count {
                0 => "remove it".to_owned(),
                count => format!("write (\"{key}\", {count})"),
            };
            findings.push(Finding::of_table(
                table,
                key,
                format!("{table} allows {allowed} for {key}, and {count} are found"),
                write,
            ));
        }
    }
    findings
}

mod tests {
    use super::*;

    fn found(keys: &[&str]) -> Vec<(String, Finding)> {
        let finding = |key: &&str| ((*key).to_owned(), Finding::new("a.rs", 7, *key, "", ""));
        keys.iter().map(finding).collect()
    }

    #[test]
    fn an_allowance_is_neither_exceeded_nor_left_too_high() {
        let left = [("x", 2), ("y", 1)];
        none(&beyond(found(&["x", "y", "x"]), "WORDS_LEFT", &left));
        let more = beyond(found(&["x", "x", "x", "y"]), "WORDS_LEFT", &left);
        are(&more, &["a.rs:7: x", "a.rs:7: x", "a.rs:7: x", "tests/tidy/rules.rs:"]);
        let fewer = beyond(found(&["x"]), "WORDS_LEFT", &left);
        are(&fewer, &["tests/tidy/rules.rs:", "tests/tidy/rules.rs:"]);
        assert!(fewer[0].to_string().contains("write (\"x\", 1)"), "{}", fewer[0]);
        assert!(fewer[1].to_string().contains("remove it"), "{}", fewer[1]);
    }

    #[test]
    fn an_entry_of_a_table_is_told_with_its_line() {
        let line = line_of("UNSAFE", "host/wasm/src/cache.rs");
        let text = include_str!("rules.rs").lines().nth(line - 1).unwrap();
        assert!(text.contains("host/wasm/src/cache.rs"), "{line}: {text}");
    }
}
