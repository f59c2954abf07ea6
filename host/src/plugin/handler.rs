//! Who serves the topics of one pattern.

use std::sync::Arc;

use smol_str::SmolStr;

use super::Plugin;
use crate::dashboard::Dashboard;
use crate::telemetry::{ChannelMeters, Metrics};
use crate::wire::TopicPattern;

/// Who serves the topics of one pattern.
#[derive(Debug)]
pub struct Handler {
    pattern: TopicPattern,
    serves: Serves,
    pub(crate) meters: ChannelMeters,
}

/// Who handles messages.
#[derive(Clone, Debug)]
pub(crate) enum Serves {
    /// A plugin's live version.
    Plugin(Arc<Plugin>),
    /// The server itself, for its page.
    Dashboard(Arc<Dashboard>),
}

impl Handler {
    pub(crate) fn new(pattern: TopicPattern, serves: Serves, metrics: &Metrics) -> Self {
        let meters = ChannelMeters::new(metrics, pattern.to_string());
        Self { pattern, serves, meters }
    }

    /// Whether it is of this plugin and pattern.
    pub(super) fn is(&self, plugin: &Arc<Plugin>, pattern: &TopicPattern) -> bool {
        self.plugin().is_some_and(|own| Arc::ptr_eq(own, plugin)) && self.pattern == *pattern
    }

    pub(crate) fn serves(&self) -> &Serves {
        &self.serves
    }

    /// The plugin, if it is one.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        match &self.serves {
            Serves::Plugin(plugin) => Some(plugin),
            Serves::Dashboard(_) => None,
        }
    }

    /// The plugin's name, or what the server serves itself.
    #[must_use]
    pub fn name(&self) -> &str {
        self.plugin().map_or("dashboard", |plugin| plugin.name())
    }

    /// The broadcasts it wants to see first.
    pub(crate) fn intercepts(&self) -> Arc<[SmolStr]> {
        let none = || Arc::new([]) as Arc<[SmolStr]>;
        self.plugin().map_or_else(none, |p| Arc::clone(p.live().component().intercepts()))
    }
}
