//! Code that asks nothing of the world: no I/O, no clock, no tasks.

use crate::finding::{self, Finding};
use crate::rules::{IMPURE, PURE, PURE_RULE_WHY};
use crate::source::{SOURCES, Source};

fn check(sources: &[Source]) -> Vec<Finding> {
    let is_pure = |source: &&Source| PURE.iter().any(|folder| source.path.starts_with(folder));
    let mut findings = Vec::new();
    for source in sources.iter().filter(is_pure) {
        for path in &source.paths {
            let has = |parts: &[&str]| path.parts.windows(parts.len()).any(|own| own == parts);
            for (_, instead) in IMPURE.iter().filter(|(parts, _)| has(parts)) {
                let found = path.parts.join("::");
                let allowed = format!("not in code that is pure; {instead}");
                findings.push(Finding::new(&source.path, path.line, found, allowed, PURE_RULE_WHY));
            }
        }
    }
    findings
}

#[test]
fn pure_code_asks_nothing_of_the_world() {
    finding::none(&check(&SOURCES));
    for folder in PURE {
        assert!(SOURCES.iter().any(|source| source.path.starts_with(folder)), "PURE: {folder}");
    }
}

#[test]
fn clocks_and_input_in_pure_code_are_found() {
    let text = "use std::{\n    fs,\n    net::IpAddr,\n    time::{Duration, Instant},\n};\n\
                /// Not `std::thread::spawn`.\nfn f(at: Instant) {\n    let now = Instant::now();\n    \
                tokio::select! { () = later() => \"std::fs\" }\n}\n";
    let pure = Source::new("host/pipeline/src/core/x.rs", text);
    let other = Source::new("host/pipeline/src/runtime/x.rs", text);
    let expected = [
        "host/pipeline/src/core/x.rs:2: std::fs",
        "host/pipeline/src/core/x.rs:8: Instant::now",
        "host/pipeline/src/core/x.rs:9: tokio::select",
    ];
    finding::are(&check(&[pure, other]), &expected);
}
