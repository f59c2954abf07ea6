//! Error texts for a `millrace.toml`, in terms of its keys and values rather than of Rust types.

use toml::de::{DeTable, DeValue, Error};

use super::nearest::nearest;

/// What is wrong with a text, for which key, and in which line.
pub(super) fn explain(text: &str, error: &Error) -> String {
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(syntax) => return with_place(format!("this is no TOML: {}", syntax.message()), error),
    };
    let key = error.span().and_then(|span| key_at(table.get_ref(), span.start));
    let key = key.unwrap_or_default().join(".");
    let said = rephrase(&key, error.message());
    // The line would show the secret.
    if is_secret(&key) { said } else { with_place(said, error) }
}

/// The same for a table that was parsed before, and whose keys are below `key`.
pub(super) fn explain_below(key: &str, error: &Error) -> String {
    let shown = error.to_string();
    let below = shown.trim_end().rsplit_once("\nin `").and_then(|(_, key)| key.strip_suffix('`'));
    match below {
        Some(below) if key.is_empty() => rephrase(below, error.message()),
        Some(below) => rephrase(&format!("{key}.{below}"), error.message()),
        None => rephrase(key, error.message()),
    }
}

/// Adds the place, and the line itself as the parser shows it.
fn with_place(said: String, error: &Error) -> String {
    let shown = error.to_string();
    let shown = shown.trim_end().strip_prefix("TOML parse error at ");
    let shown = shown.and_then(|shown| shown.strip_suffix(error.message().trim_end()));
    match shown.and_then(|shown| shown.split_once('\n')) {
        Some((place, excerpt)) => format!("{said} ({place})\n{}", excerpt.trim_end()),
        None => said,
    }
}

/// The innermost key that is at this place of the text, or whose value is.
fn key_at(table: &DeTable<'_>, at: usize) -> Option<Vec<String>> {
    table.iter().find_map(|(key, value)| {
        let name = || key.get_ref().to_string();
        let below = below(value.get_ref(), at).map(|mut below| {
            below.insert(0, name());
            below
        });
        let is_here = || key.span().contains(&at) || value.span().contains(&at);
        below.or_else(|| is_here().then(|| vec![name()]))
    })
}

fn below(value: &DeValue<'_>, at: usize) -> Option<Vec<String>> {
    match value {
        DeValue::Table(table) => key_at(table, at),
        DeValue::Array(values) => values.iter().find_map(|value| below(value.get_ref(), at)),
        _ => None,
    }
}

/// A message of the parser about a key, rephrased.
fn rephrase(key: &str, message: &str) -> String {
    let of_type = message.strip_prefix("invalid type: ");
    let of_value = message.strip_prefix("invalid value: ");
    let found_and_expected = of_type.or(of_value).and_then(|m| m.rsplit_once(", expected "));
    if let Some((found, expected)) = found_and_expected {
        let found = if is_secret(key) { "something else".to_owned() } else { value(found) };
        return format!("{} is {found}; {} is expected", named(key), expected_at(key, expected));
    }
    if let Some((name, rest)) = quoted(message, "unknown field `") {
        return no_key(&below_key(key, name), name, rest);
    }
    if let Some((name, rest)) = quoted(message, "unknown variant `") {
        return format!("{} is {name:?}; {}", named(key), allowed(rest));
    }
    if let Some((name, _)) = quoted(message, "missing field `") {
        let missing = below_key(key, name);
        return format!("{missing} is missing{}", advice(&missing));
    }
    match message {
        "wanted string or table" => format!("{} is no string; one is expected", named(key)),
        _ if key.is_empty() => message.to_owned(),
        _ => format!("{key}: {message}"),
    }
}

/// The only key that is in no section.
const TOP_LEVEL_KEY: &str = "listen";

/// The text for a key that does not exist: which one was meant, and which ones exist.
fn no_key(key: &str, name: &str, rest: &str) -> String {
    if name == TOP_LEVEL_KEY && key != name {
        return format!("{key} is no key; {name} stands above the first [section]");
    }
    let allowed = allowed(rest);
    match nearest(name, rest.split('`').skip(1).step_by(2)) {
        Some(meant) => {
            let allowed = allowed.replacen("allowed", "Allowed", 1);
            format!("{key} is no key; did you mean {meant}? {allowed}")
        }
        None => format!("{key} is no key; {allowed}"),
    }
}

/// A hint what to add, where that is not obvious.
fn advice(missing: &str) -> &'static str {
    match missing {
        "tls.certificate" => "; add it: the PEM file of the certificate",
        "tls.key" => "; add it: the PEM file of the private key",
        _ => "",
    }
}

/// Whether the value of a key is a secret.
fn is_secret(key: &str) -> bool {
    let is_named =
        matches!(key.rsplit('.').next(), Some("token" | "secret" | "secrets" | "public_key"));
    is_named || key.contains(".config.")
}

fn named(key: &str) -> &str {
    if key.is_empty() { "the text" } else { key }
}

/// A key of the table `key`; the parser may have included it already.
fn below_key(key: &str, name: &str) -> String {
    match key.rsplit('.').next() {
        _ if key.is_empty() => name.to_owned(),
        Some(last) if last == name => key.to_owned(),
        _ => format!("{key}.{name}"),
    }
}

/// The text between `before`, which ends in a backtick, and the next backtick; and the rest.
fn quoted<'a>(message: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(before)?.split_once('`')
}

/// The names in a rest such as `, expected one of …`.
fn allowed(rest: &str) -> String {
    let names = rest.strip_prefix(", expected ").map(|n| n.strip_prefix("one of ").unwrap_or(n));
    match names {
        Some(names) => format!("allowed are {names}"),
        None => "there are none here".to_owned(),
    }
}

/// The value that was found, in terms of TOML.
fn value(found: &str) -> String {
    let bare = |prefix: &str| found.strip_prefix(prefix).and_then(|v| v.strip_suffix('`'));
    let scalar =
        bare("integer `").or_else(|| bare("floating point `")).or_else(|| bare("boolean `"));
    match (scalar, found) {
        (Some(scalar), _) => scalar.to_owned(),
        (None, "sequence") => "a list".to_owned(),
        (None, "map") => "a table".to_owned(),
        (None, text) if text.starts_with("string ") => format!("the {text}"),
        (None, other) => other.to_owned(),
    }
}

/// The value that a key expects, in terms of TOML.
fn expected_at(key: &str, expected: &str) -> String {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" if key.ends_with("_ms") => {
            "a whole number of milliseconds, such as 60000,".to_owned()
        }
        _ => kind(expected),
    }
}

/// An expected type of Rust, in terms of TOML.
fn kind(expected: &str) -> String {
    let whole = |most: u64| format!("a whole number from 0 to {most}");
    match expected {
        "u8" => whole(u8::MAX.into()),
        "u16" => whole(u16::MAX.into()),
        "u32" => whole(u32::MAX.into()),
        "u64" | "usize" => "a whole number of 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "path string" | "a path" => "a path in quotes".to_owned(),
        "a string" | "string" | "a string key" => "a text in quotes".to_owned(),
        "a sequence" => "a list, as in [\"a\", \"b\"],".to_owned(),
        "a map" => "a table".to_owned(),
        // The types of a section, and of a value with some choices.
        other if other.starts_with("struct ") => "a table".to_owned(),
        other if other.starts_with("enum ") => "a text in quotes".to_owned(),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::App;

    /// Checks the text for each of these inputs, and that it has no terms of Rust.
    fn check(told: &[(&str, &str)]) {
        for (text, told) in told {
            let error = App::parse("/app".into(), text).unwrap_err();
            let (first, _) = error.split_once('\n').unwrap_or((&error, ""));
            assert!(first.contains(told), "{text}: {first}");
            for word in ["usize", "u32", "u64", "f64", "struct", "enum", "variant", "field", "map"]
            {
                assert!(!first.contains(word), "{text}: {first}");
            }
        }
    }

    #[test]
    fn a_value_that_is_not_allowed_is_told() {
        check(&[
            ("socket = 3", "socket is 3; a table is expected"),
            (
                "[socket]\nidle_timeout_ms = \"60s\"",
                "the string \"60s\"; a whole number of milliseconds, such as 60000, is expected",
            ),
            ("listen = 3", "listen is 3; an address and a port such as \"127.0.0.1:4000\" or"),
            ("listen = \"here\"", "listen: \"here\" is no address; an address and a port such as"),
            (
                "[admin]\nlisten = 3",
                "admin.listen is 3; an address and a port such as \"127.0.0.1:4001\" is expected",
            ),
            (
                "[admin]\nlisten = \"localhost:1\"",
                "admin.listen: \"localhost:1\" is no address; an address and a port such as \
                 \"127.0.0.1:4001\" is expected; names such as localhost are not looked up",
            ),
            (
                "[socket]\nmax_channels = \"many\"",
                "socket.max_channels is the string \"many\"; a whole number of 0 or more is expected",
            ),
            ("[socket]\nmax_channels = -1", "socket.max_channels is -1; a whole number of 0 or"),
            (
                "[socket]\nmax_faults = 5000000000",
                "5000000000; a whole number from 0 to 4294967295",
            ),
            ("[socket]\nmax_pending = 1.5", "socket.max_pending is 1.5; a whole number"),
            (
                "[socket]\nhosts = \"a.com\"",
                "the string \"a.com\"; a list, as in [\"a\", \"b\"], is",
            ),
            ("[socket]\npath = [1]", "socket.path is a list; a text in quotes is expected"),
            ("[socket]\ncheck_origin = 3", "socket.check_origin is 3; true, false or a list of"),
            ("[socket]\ncheck_origin = [\"a.com\"]", "socket.check_origin: origin \"a.com\" is"),
            ("[dashboard]\nenabled = 1", "dashboard.enabled is 1; true or false is expected"),
            ("[swap]\nmax_fault_rate = \"5%\"", "max_fault_rate is the string \"5%\"; a number is"),
            ("[limits]\non_faults = 3", "limits.on_faults is no string; one is expected"),
            ("[static.files]\n\"/a\" = 1", "static.files./a is 1; a path in quotes is expected"),
            ("[plugins.a]\npath = true", "plugins.a.path is true; a path in quotes is expected"),
            ("[plugins]\na = 1", "plugins.a is 1; a table is expected"),
            (
                "[plugins.a]\npath = \"p\"\nlimits = { fuel = \"all\" }",
                "plugins.a.limits.fuel is the string \"all\"; a whole number of 0 or more is",
            ),
        ]);
    }

    #[test]
    fn a_name_that_there_is_not_is_told_and_one_that_is_missing() {
        check(&[
            (
                "[tls]\ncertificate = \"c\"",
                "tls.key is missing; add it: the PEM file of the private key",
            ),
            ("[tls]\nkey = \"k\"", "tls.certificate is missing; add it: the PEM file of the cert"),
            (
                "[drain]\nover = 1",
                "drain.over is no key; did you mean over_ms? Allowed are `over_ms` or `timeout_ms`",
            ),
            ("[drain]\nx = 1", "drain.x is no key; allowed are `over_ms` or `timeout_ms`"),
            ("lisen = 1", "lisen is no key; did you mean listen? Allowed are `listen`, "),
            (
                "[socket]\nlisten = \":1\"",
                "socket.listen is no key; listen stands above the first [section]",
            ),
            (
                "[limits]\non_faults = \"stop\"",
                "limits.on_faults is \"stop\"; allowed are `reload`, `closed`, `open`",
            ),
            (
                "[[socket.outbox_policies]]\ntopics = \"a\"\npolicy = \"drop\"",
                "socket.outbox_policies.policy is \"drop\"; allowed are `close`, `drop_oldest`",
            ),
            (
                "[[socket.outbox_policies]]\ntopics = \"a\"",
                "socket.outbox_policies.policy is missing",
            ),
            (
                "[plugins.a]\npath = \"p\"\nlimits = { ful = 1 }",
                "plugins.a.limits.ful is no key; did you mean fuel? Allowed are `fuel`",
            ),
            ("[pipelines.p]\ntimer = { payload = 1 }", "pipelines.p.timer.every_ms is missing"),
            ("[pipelines.p]\nbuffer = { keep = \"all\" }", "buffer.keep is \"all\"; allowed are"),
            ("[socket", "this is no TOML: unclosed table, expected `]`"),
            ("a = 1\na = 2", "this is no TOML: duplicate key"),
        ]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let error = App::parse("/app".into(), "[admin]\ntoken = 12345").unwrap_err();
        assert!(error.starts_with("admin.token is something else; "), "{error}");
        assert!(!error.contains("12345"), "{error}");
    }

    #[test]
    fn the_line_is_shown() {
        let error = App::parse("/app".into(), "[socket]\nmax_channels = true").unwrap_err();
        let expected = "socket.max_channels is true; a whole number of 0 or more is expected (line 2, \
                        column 16)\n  |\n2 | max_channels = true\n  |                ^^^^";
        assert_eq!(error, expected);
    }
}
