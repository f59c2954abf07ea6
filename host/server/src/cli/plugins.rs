//! `millrace plugins`: the plugins that a server has loaded.

use serde_json::Value;

use super::admin::AdminArgs;
use super::table::Table;
use super::value::{number, text, texts};
use super::{print, say};

/// Prints all plugins as a table, or as JSON.
pub(super) async fn show(server: &AdminArgs) -> anyhow::Result<()> {
    let plugins = server.get("/plugins").await?;
    let plugins = plugins.as_array().map(Vec::as_slice).unwrap_or_default();
    if server.json {
        plugins.iter().for_each(|plugin| say(&plugin.to_string()));
        return Ok(());
    }
    let columns = ["PLUGIN", "VERSION", "EXPORTS", "TOPICS", ">BUSY", ">IDLE", ">MAX", "FAULTS"];
    let mut table = Table::new(&columns);
    for plugin in plugins {
        let instances = |name: &str| number(plugin, &["instances", name]);
        let busy = instances("live") - instances("idle");
        table.row([
            text(plugin, &["name"]),
            text(plugin, &["version"]),
            texts(plugin, &["exports"]),
            texts(plugin, &["topics"]),
            busy.to_string(),
            instances("idle").to_string(),
            instances("max").to_string(),
            faults(plugin),
        ]);
    }
    print(&table, "no plugins are loaded yet");
    Ok(())
}

/// The number of faults by cause, and whether there were so many that the plugin is held back.
fn faults(plugin: &Value) -> String {
    let causes = plugin.get("faults").and_then(Value::as_object).into_iter().flatten();
    let mut all: Vec<_> = causes.map(|(cause, count)| format!("{count} {cause}")).collect();
    if plugin.get("held") == Some(&Value::Bool(true)) {
        all.push("held back".to_owned());
    }
    if all.is_empty() { "0".to_owned() } else { all.join(", ") }
}
