//! Who serves the topics of one pattern.

use std::sync::Arc;

use super::Plugin;
use crate::telemetry::{ChannelMeters, Metrics};
use crate::wire::TopicPattern;

/// Who serves the topics of one pattern.
#[derive(Debug)]
pub struct Handler {
    pattern: TopicPattern,
    plugin: Arc<Plugin>,
    pub(crate) meters: ChannelMeters,
}

impl Handler {
    pub(super) fn new(pattern: TopicPattern, plugin: Arc<Plugin>, metrics: &Metrics) -> Self {
        let meters = ChannelMeters::new(metrics, pattern.to_string());
        Self { pattern, plugin, meters }
    }

    /// Whether it is of this plugin and pattern.
    pub(super) fn is(&self, plugin: &Arc<Plugin>, pattern: &TopicPattern) -> bool {
        Arc::ptr_eq(&self.plugin, plugin) && self.pattern == *pattern
    }

    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Arc<Plugin> {
        &self.plugin
    }
}
