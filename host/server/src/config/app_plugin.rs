//! `[plugins.NAME]`: one plugin of an app.

use std::collections::BTreeMap;
use std::path::Path;

use millrace_wasm::{Grants, PluginLimits};
use serde::Deserialize;

use super::EgressConfig;
use super::check::check_limits;
use super::file::PluginConfig;
use super::wording;
use crate::plugin::{PublicKey, Source, Trust};
use crate::secret::Secret;

/// One plugin of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPlugin {
    /// The plugin's name in logs and metrics.
    pub name: String,
    /// The source of its component.
    pub source: Source,
    /// The values that it reads with `config.get`.
    pub config: BTreeMap<String, Secret>,
    /// Its limits: `[limits]`, and those of its own.
    pub limits: PluginLimits,
    /// The requests it may make to other servers.
    pub http: EgressConfig,
    /// Its other permissions.
    pub grants: Grants,
    /// The components that are accepted as this plugin.
    pub trust: Trust,
}

/// Makes a plugin from its section. `limits` is the table `[limits]` with only the given keys.
pub(super) fn app_plugin(
    folder: &Path,
    name: &str,
    plugin: &PluginConfig,
    limits: &toml::Table,
    keys: &[PublicKey],
) -> Result<AppPlugin, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(format!(
            "plugins has the name {name:?}; letters, digits, `-` and `_` are allowed"
        ));
    }
    let source = match (&plugin.path, &plugin.component) {
        (Some(path), None) => Source::package(folder, name, &folder.join(path)),
        (None, Some(component)) => Source::File(folder.join(component)),
        (None, None) => {
            return Err(format!("plugins.{name} needs `path` (a package) or `component` (a file)"));
        }
        (Some(_), Some(_)) => {
            return Err(format!("plugins.{name} has both `path` and `component`; one is allowed"));
        }
    };
    let config = plugin.config.iter().map(|(key, value)| (key.clone(), setting(value))).collect();
    if plugin.limits.contains_key("max_stack_bytes") {
        return Err(format!(
            "plugins.{name}.limits has max_stack_bytes, which is one for all plugins; set it in \
             [limits]"
        ));
    }
    let mut merged = limits.clone();
    merged.extend(plugin.limits.clone());
    let below = format!("plugins.{name}.limits");
    let limits = PluginLimits::deserialize(merged);
    let limits = limits.map_err(|error| wording::explain_below(&below, &error))?;
    check_limits(&limits).map_err(|problem| format!("{below}.{problem}"))?;
    let http = plugin.http.clone();
    let trust = Trust { pins: plugin.sha256.clone(), keys: keys.to_vec() };
    let grants = plugin.grants.clone();
    Ok(AppPlugin { name: name.to_owned(), source, config, limits, http, grants, trust })
}

/// A value of the plugin's configuration: a string as it is, a secret that is elsewhere, or any
/// other value as TOML.
fn setting(value: &toml::Value) -> Secret {
    match value {
        toml::Value::String(text) => Secret::new(text.as_str()),
        toml::Value::Table(table) => {
            Secret::of_table(table).unwrap_or_else(|| Secret::new(table.to_string()))
        }
        other => Secret::new(other.to_string()),
    }
}

impl AppPlugin {
    /// A plugin with every setting at its default.
    pub(super) fn plain(name: String, source: Source) -> Self {
        let (limits, http) = (PluginLimits::default(), EgressConfig::default());
        let (grants, trust) = (Grants::default(), Trust::default());
        Self { name, source, config: BTreeMap::new(), limits, http, grants, trust }
    }
}
