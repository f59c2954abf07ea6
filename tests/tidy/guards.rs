//! What the compiler and other tests hold: that they are asked to.

use std::collections::BTreeSet;

use crate::finding::{self, Finding};
use crate::rules::{CRATES, DENIED, DENIED_WHY, TESTS, UNSAFE, UNSAFE_WHY};
use crate::source::{SOURCES, Source};

/// The roots of the host's crates that do not deny what they should.
fn check_lints(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        let is_root = |folder: &str| {
            ["lib", "main"].iter().any(|file| source.path == format!("host/{folder}/src/{file}.rs"))
        };
        if !CRATES.iter().any(|layer| is_root(layer.folder)) {
            continue;
        }
        let missing: Vec<&str> =
            DENIED.iter().copied().filter(|lint| !source.denied.contains(*lint)).collect();
        if !missing.is_empty() {
            let found = format!("a crate that does not deny {}", missing.join(", "));
            let allowed = "`#![cfg_attr(not(test), deny(..))]` with all of them, as in \
                           host/server/src/lib.rs";
            findings.push(Finding::new(&source.path, 1, found, allowed, DENIED_WHY));
        }
    }
    findings
}

fn check_unsafe(sources: &[Source], exceptions: &[(&str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut needed = BTreeSet::new();
    for source in sources {
        for name in source.names.iter().filter(|name| name.text == "unsafe") {
            if exceptions.iter().any(|(path, _)| *path == source.path) {
                needed.insert(source.path.as_str());
                continue;
            }
            let allowed = "the files of UNSAFE in tests/tidy/rules.rs, each with its reason";
            findings.push(Finding::new(&source.path, name.line, "unsafe", allowed, UNSAFE_WHY));
        }
    }
    let needless = exceptions.iter().filter(|(path, _)| !needed.contains(path));
    findings.extend(needless.map(|(path, _)| Finding::needless("UNSAFE", path)));
    findings
}

fn check_tests(sources: &[Source]) -> Vec<Finding> {
    let missing = TESTS.iter().filter(|(path, name, _)| {
        let mut files = sources.iter().filter(|source| source.path == *path);
        !files.any(|source| source.functions.iter().any(|function| function.name == *name))
    });
    let finding = |(path, name, why): &(&str, &str, &'static str)| {
        let allowed = "a test of this name, or another place for it in TESTS of \
                       tests/tidy/rules.rs";
        Finding::new(path, 1, format!("no test {name}"), allowed, why)
    };
    missing.map(finding).collect()
}

#[test]
fn crates_of_the_host_deny_what_panics() {
    finding::none(&check_lints(&SOURCES));
}

#[test]
fn a_crate_that_lets_something_panic_is_found() {
    let some = |but: &str| {
        let lints: Vec<&str> = DENIED.iter().copied().filter(|lint| *lint != but).collect();
        lints.join(", ")
    };
    let all = format!("#![cfg_attr(not(test), deny({}))]\n", some(""));
    none_of(&all);
    none_of(&format!("#![forbid({})]\n", some("")));
    let without = format!("#![cfg_attr(not(test), deny({}))]\n", some("clippy::panic"));
    let with_another = all.replace("not(test)", "feature = \"strict\"");
    let inside = format!("mod a {{\n    {all}}}\n");
    for text in [without, with_another, inside, all.replace("deny", "warn")] {
        let source = Source::new("host/wire/src/lib.rs", &text);
        finding::are(
            &check_lints(&[source]),
            &["host/wire/src/lib.rs:1: a crate that does not deny clippy::"],
        );
    }
}

fn none_of(text: &str) {
    finding::none(&check_lints(&[Source::new("host/wire/src/lib.rs", text)]));
}

#[test]
fn unsafe_is_where_it_has_a_reason() {
    finding::none(&check_unsafe(&SOURCES, UNSAFE));
}

#[test]
fn other_unsafe_is_found_and_an_exception_that_is_not_needed() {
    let text = "// unsafe\nfn f() {\n    let _ = \"unsafe\";\n    unsafe { g() }\n}\n";
    let sources = [Source::new("host/a.rs", text), Source::new("host/b.rs", "fn f() {}\n")];
    finding::are(&check_unsafe(&sources, &[]), &["host/a.rs:4: unsafe"]);
    let exceptions = [("host/a.rs", ""), ("host/b.rs", "")];
    finding::are(&check_unsafe(&sources, &exceptions), &["tests/tidy/rules.rs:"]);
}

#[test]
fn tests_that_hold_the_pages_are_there() {
    finding::none(&check_tests(&SOURCES));
}

#[test]
fn a_test_that_was_removed_is_found() {
    let sources: Vec<Source> = TESTS
        .iter()
        .skip(1)
        .map(|(path, name, _)| Source::new(path, &format!("#[test]\nfn {name}() {{}}\n")))
        .collect();
    finding::are(
        &check_tests(&sources),
        &["host/telemetry/src/catalog.rs:1: no test the_docs_have_the_table"],
    );
}
