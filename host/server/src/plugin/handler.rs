//! Who serves the topics of one pattern.

use std::fmt::Debug;
use std::sync::Arc;

use millrace_session::channel::{Callback, Completion};
use millrace_telemetry::{ChannelMeters, Metrics};
use millrace_wire::TopicPattern;
use smol_str::SmolStr;

use super::Plugin;

/// Who serves the topics of one pattern.
#[derive(Debug)]
pub struct Handler {
    pattern: TopicPattern,
    kind: HandlerKind,
    pub(crate) meters: ChannelMeters,
}

/// Who handles messages.
#[derive(Clone, Debug)]
pub(crate) enum HandlerKind {
    /// A plugin's live version.
    Plugin(Arc<Plugin>),
    /// The server itself.
    Native(Arc<dyn NativeChannel>),
}

/// Channels that the server itself serves.
pub(crate) trait NativeChannel: Debug + Send + Sync {
    /// The name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Answers a call; it is not waited for.
    fn answer(&self, callback: &Callback) -> Completion;
}

impl Handler {
    pub(crate) fn new(pattern: TopicPattern, kind: HandlerKind, metrics: &Metrics) -> Self {
        let meters = ChannelMeters::new(metrics, pattern.to_string());
        Self { pattern, kind, meters }
    }

    /// Whether it is of this plugin and pattern.
    pub(super) fn is(&self, plugin: &Arc<Plugin>, pattern: &TopicPattern) -> bool {
        self.plugin().is_some_and(|own| Arc::ptr_eq(own, plugin)) && self.pattern == *pattern
    }

    /// What the server answers itself; `None` when the plugin has to be called.
    pub(crate) fn answer(&self, callback: &Callback) -> Option<Completion> {
        match &self.kind {
            HandlerKind::Native(native) => Some(native.answer(callback)),
            #[cfg(feature = "bench-native")]
            HandlerKind::Plugin(_) => native(callback),
            #[cfg(not(feature = "bench-native"))]
            HandlerKind::Plugin(_) => None,
        }
    }

    /// The plugin, if it is one.
    #[must_use]
    pub fn plugin(&self) -> Option<&Arc<Plugin>> {
        match &self.kind {
            HandlerKind::Plugin(plugin) => Some(plugin),
            HandlerKind::Native(_) => None,
        }
    }

    /// The name of who handles messages.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.kind {
            HandlerKind::Plugin(plugin) => plugin.name(),
            HandlerKind::Native(native) => native.name(),
        }
    }

    /// The broadcasts it wants to see first.
    pub(crate) fn intercepts(&self) -> Arc<[SmolStr]> {
        let none = || Arc::new([]) as Arc<[SmolStr]>;
        self.plugin().map_or_else(none, |p| Arc::clone(p.live().component().intercepts()))
    }
}

/// What the probe app does with `ping`, compiled into the host.
#[cfg(feature = "bench-native")]
fn native(callback: &Callback) -> Option<Completion> {
    use millrace_session::channel::{ChannelEffect, Outcome};
    let Callback::HandleIn { event, payload, .. } = callback else { return None };
    (event == "ping").then(|| {
        let payload = payload.clone();
        let effect = ChannelEffect::Reply { status: "ok".into(), payload }.into();
        Completion::Handled(Outcome { effects: vec![effect], assigns: None })
    })
}
