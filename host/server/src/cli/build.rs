//! `millrace build`: builds an app's plugins and packages.

use super::say;
use crate::config::App;
use crate::plugin::{BuildFor, build};

/// Builds everything, and prints where it is.
pub(super) fn run(app: &App) -> anyhow::Result<()> {
    build(&app.folder, app.plugins.iter().map(|plugin| &plugin.source), BuildFor::Serving)?;
    for plugin in &app.plugins {
        say(&format!("{}: {}", plugin.name, plugin.source.component().display()));
    }
    Ok(())
}
