//! Layers between the folders of the server, and the folders at the top.

use std::collections::{BTreeMap, BTreeSet};

use millrace_tests::repository;

use crate::finding::{self, Finding};
use crate::rules::{FOLDERS, FOLDERS_WHY, TOP, TOP_WHY, UPWARD};
use crate::source::{SOURCES, Source};

const SERVER: &str = "host/server/src/";

/// The folder of the server that a file is in, or the file's own name; `None` for those of
/// other crates, and for the crate's root, which has all folders.
fn folder(source: &Source) -> Option<&str> {
    let below = source.path.strip_prefix(SERVER)?;
    let folder = below.split('/').next()?.trim_end_matches(".rs");
    (!matches!(folder, "lib" | "main")).then_some(folder)
}

/// What the crate's root exports, with the folder that it comes from.
fn exports(sources: &[Source]) -> BTreeMap<&str, &str> {
    let root = sources.iter().filter(|source| source.path == "host/server/src/lib.rs");
    let paths = root.flat_map(|source| &source.paths);
    let exported = paths.filter_map(|path| match &path.parts[..] {
        [folder, .., name] if FOLDERS.contains(&folder.as_str()) => {
            Some((name.as_str(), folder.as_str()))
        }
        _ => None,
    });
    exported.collect()
}

fn check(sources: &[Source], exceptions: &[(&str, &str, &str)]) -> Vec<Finding> {
    let exports = exports(sources);
    let rank = |folder: &str| FOLDERS.iter().position(|other| *other == folder);
    let mut findings = Vec::new();
    let mut needed = BTreeSet::new();
    for source in sources {
        let Some(from) = folder(source) else { continue };
        let Some(own) = rank(from) else {
            let found = format!("{from} has no layer");
            let allowed = format!("{}; give it a place there", FOLDERS.join(", "));
            findings.push(Finding::new(&source.path, 1, found, allowed, FOLDERS_WHY));
            continue;
        };
        for path in &source.paths {
            let [root, name, ..] = &path.parts[..] else { continue };
            if root != "crate" {
                continue;
            }
            let to = exports.get(name.as_str()).copied().unwrap_or(name);
            if rank(to).is_some_and(|other| other <= own) {
                continue;
            }
            if let Some((from, to, _)) = exceptions.iter().find(|(f, t, _)| *f == from && *t == to)
            {
                needed.insert((*from, *to));
                continue;
            }
            let found = format!("{from} uses {}", path.parts.join("::"));
            let allowed = format!("{} and what is in it", FOLDERS[..own].join(", "));
            findings.push(Finding::new(&source.path, path.line, found, allowed, FOLDERS_WHY));
        }
    }
    let needless = exceptions.iter().filter(|(from, to, _)| !needed.contains(&(*from, *to)));
    findings.extend(
        needless.map(|(from, to, _)| Finding::needless("UPWARD", &format!("{from} -> {to}"))),
    );
    findings
}

fn check_top<'a>(folders: impl Iterator<Item = &'a str>) -> Vec<Finding> {
    let others =
        folders.filter(|name| !name.starts_with('.') && *name != "target" && !TOP.contains(name));
    let finding = |name| Finding::new(name, 1, "a folder at the top", TOP.join(", "), TOP_WHY);
    others.map(finding).collect()
}

#[test]
fn folders_of_the_server_use_those_below_them() {
    finding::none(&check(&SOURCES, UPWARD));
}

#[test]
fn a_use_of_a_folder_above_is_found_however_it_is_written() {
    let lib = Source::new("host/server/src/lib.rs", "mod cli;\npub use server::Server;\n");
    let text = "use crate::config::App;\nuse crate::{\n    token,\n    cli::{self, run as go},\n};\n\
                use super::Own;\nmod inner {\n    use super::super::super::transport::Body;\n}\n\
                fn f() { let _ = vec![crate::Server::new(), crate::plugin::mine()]; }\n";
    let plugin = Source::new("host/server/src/plugin/one.rs", text);
    let new = Source::new("host/server/src/new.rs", "");
    let expected = [
        "host/server/src/plugin/one.rs:1: plugin uses crate::config::App",
        "host/server/src/plugin/one.rs:4: plugin uses crate::cli",
        "host/server/src/plugin/one.rs:4: plugin uses crate::cli::run",
        "host/server/src/plugin/one.rs:8: plugin uses crate::transport::Body",
        "host/server/src/plugin/one.rs:10: plugin uses crate::Server::new",
        "host/server/src/new.rs:1: new has no layer",
    ];
    finding::are(&check(&[lib, plugin, new], &[]), &expected);
}

#[test]
fn an_exception_is_for_one_direction_and_has_to_be_needed() {
    let text = "use crate::config::App;\nuse crate::dashboard::Page;\n";
    let plugin = [Source::new("host/server/src/plugin/mod.rs", text)];
    let exceptions = [("plugin", "config", ""), ("wasm", "plugin", "")];
    let expected = [
        "host/server/src/plugin/mod.rs:2: plugin uses crate::dashboard::Page",
        "tests/tidy/rules.rs:",
    ];
    finding::are(&check(&plugin, &exceptions), &expected);
}

#[test]
fn the_folders_at_the_top_are_few() {
    let entries = repository::root().read_dir().unwrap().map(Result::unwrap);
    let folders = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    let names: Vec<String> =
        folders.map(|entry| entry.file_name().to_str().unwrap().to_owned()).collect();
    finding::none(&check_top(names.iter().map(String::as_str)));
}

#[test]
fn another_folder_at_the_top_is_found() {
    let names = [".ci", "target", "host", "docs", "wit"];
    finding::are(&check_top(names.into_iter()), &["docs:1: a folder at the top"]);
}
