//! `millrace check`: what a plugin is, and whether this host can run it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use millrace_telemetry::Metrics;
use millrace_wasm::{Component, Engine, EngineLimits, Inspection, PluginLimits, Settings, inspect};

use super::say;
use crate::config::{CacheConfig, EgressConfig};

/// Prints what the component exports, imports and serves. An error if this host cannot run it.
pub(super) async fn run(plugin: &Path) -> anyhow::Result<()> {
    let path = plugin.display();
    let wasm = std::fs::read(plugin).with_context(|| format!("failed to read {path}"))?;
    let Inspection { exports, imports, denied, waits, problems } = match inspect(&wasm) {
        Ok(inspection) => inspection,
        Err(problem) => bail!("{path} {problem}"),
    };
    say(&format!("{path}: component, {} bytes", wasm.len()));
    list("exports", &exports);
    list("imports", &imports);
    if !denied.is_empty() {
        list("imports that this host does not offer (a call of them traps)", &denied);
    }
    list("may wait for", &waits);
    if !problems.is_empty() {
        let problems: Vec<String> = problems.iter().map(|problem| format!("- {problem}")).collect();
        bail!("this host cannot run {path}:\n{}", problems.join("\n"));
    }
    let component = load(&wasm).await.with_context(|| format!("this host cannot run {path}"))?;
    let topics: Vec<String> = component.topics().iter().map(ToString::to_string).collect();
    list("topics", &topics);
    let needs: Vec<String> = component.needs().iter().map(ToString::to_string).collect();
    list("needs", &needs);
    say("this host can run it");
    Ok(())
}

/// Compiles and links the component, and asks it for its topics, as a server would.
async fn load(wasm: &[u8]) -> anyhow::Result<Component> {
    let limits = PluginLimits::default();
    let PluginLimits { max_memory_bytes, max_stack_bytes, .. } = limits;
    let room = EngineLimits { max_instances: 1, max_memory_bytes, max_stack_bytes };
    let engine = Engine::new(room, Some(&CacheConfig::default()))?;
    let (name, http) = ("check".to_owned(), EgressConfig::default());
    let settings = Settings::new(name, BTreeMap::new(), http, Metrics::none());
    Ok(engine.compile(wasm, Arc::new(settings), limits)?.finish().await?)
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
