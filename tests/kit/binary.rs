//! The program under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The `millrace` program, built once per process from this workspace in the
/// profile of the tests. `MILLRACE_BIN` names one that is already there, by a path
/// from the workspace's root.
///
/// # Panics
/// If it cannot be built.
#[must_use]
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("MILLRACE_BIN") {
        Some(path) => workspace().join(path),
        None => build(),
    })
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are inside the workspace")
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // The same packages and targets as `cargo test --workspace`: any other choice
    // gives some dependency other features, and compiles wasmtime once more.
    command.args(["build", "--workspace", "--tests", "--bin", "millrace"]);
    command.arg("--message-format=json");
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // Build scripts that look at those of the tests' own package would run again.
    for (name, _) in std::env::vars_os() {
        let of_package = |start| name.to_str().is_some_and(|name| name.starts_with(start));
        if of_package("CARGO_PKG_") || of_package("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let output = command
        .current_dir(workspace())
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "the millrace program did not build");
    let messages = String::from_utf8_lossy(&output.stdout);
    executable(&messages).expect("cargo names the millrace program it built")
}

/// The program in cargo's messages, one JSON object on each line.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["name"] == "millrace")
        // Not the program's own unit tests.
        .filter(|message| message["profile"]["test"] == false)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}
