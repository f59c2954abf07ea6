//! `millrace check`: what a plugin is, and whether this host can run it.

use std::path::Path;

use anyhow::{Context, bail};

use super::say;
use crate::wasm::{Inspection, inspect};

/// Prints what the component exports and imports; an error when this host
/// cannot run it.
pub(super) fn run(plugin: &Path) -> anyhow::Result<()> {
    let path = plugin.display();
    let wasm = std::fs::read(plugin).with_context(|| format!("failed to read {path}"))?;
    let Inspection { exports, imports, problems } = match inspect(&wasm) {
        Ok(inspection) => inspection,
        Err(problem) => bail!("{path} {problem}"),
    };
    say(&format!("{path}: component, {} bytes", wasm.len()));
    list("exports", &exports);
    list("imports", &imports);
    if problems.is_empty() {
        say("this host can run it");
        return Ok(());
    }
    let problems: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
    bail!("this host cannot run {path}:\n{}", problems.join("\n"));
}

fn list(what: &str, names: &[String]) {
    say(&format!("{what}:"));
    if names.is_empty() {
        say("  nothing");
    }
    for name in names {
        say(&format!("  {name}"));
    }
}
