//! What `examples/deploy` has.

use std::fs;
use std::path::{Path, PathBuf};

/// The folder.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy")
}

/// A file of it as it is.
pub(crate) fn read(file: &str) -> String {
    let path = folder().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A text with these parts exchanged.
///
/// # Panics
/// If one of them is not there: the file says something else than the test has in mind.
pub(crate) fn with(mut text: String, parts: &[(&str, &str)]) -> String {
    for (part, other) in parts {
        assert!(text.contains(part), "{part:?} is not in {text}");
        text = text.replace(part, other);
    }
    text
}

/// What a file tells its reader to put elsewhere: the comments that are set in by five
/// spaces.
pub(crate) fn quoted(text: &str) -> String {
    let comments = text.lines().filter_map(|line| line.trim_start().strip_prefix("#     "));
    comments.collect::<Vec<_>>().join("\n")
}

/// Where a program is. Without it the test cannot run, which is said, and is a failure in CI.
///
/// # Panics
/// If it is missing in CI.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are where only root looks for them.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is missing, and CI must have it");
        eprintln!("NOT RUN: this test needs {name}, which is missing");
    }
    found
}
